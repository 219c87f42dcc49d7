"""Rules of WebShop for the system message."""

# [SEP] and ten results a page are WebShop's own: see ``envs.webshop.pages``.
RULES = (
    "You shop online for what an instruction asks: a kind of product with certain features, "
    "certain options, and a highest price. The pages of the shop are given to you as text, with "
    "[SEP] between their parts. Search with search[your words]; click a text of the page with "
    "click[text]. Results are listed by product id, ten a page. Open a product by its id, click "
    "each option that was asked for, and read its description and features if its title leaves "
    "doubts. click[buy now] ends the episode, and only a product that meets every point earns full "
    "marks. You have few actions, so do not wander."
)
