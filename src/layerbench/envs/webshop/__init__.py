"""WebShop (Yao et al. 2022, arXiv:2207.01206): searching, browsing and buying in a web shop."""
