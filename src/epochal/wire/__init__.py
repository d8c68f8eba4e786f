"""The contract between Python and the Studio: addresses, documents, binary containers, and what answers them."""
