"""The Network page: graphs, their colours, and what a network is asked."""
