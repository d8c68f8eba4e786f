"""Questions asked of stored runs, answered as arrays and facts."""
