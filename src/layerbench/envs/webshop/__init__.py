"""WebShop (Yao et al. 2022, arXiv:2207.01206): a shop to search, browse and buy in, in text."""
