"""Words by which option values are taken to be equal colours."""

# The list of princeton-nlp/WebShop @64fa2a5, web_agent_site/engine/normalize.py, in its order.
_WORDS = (
    "alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown "
    "burgundy camel camo caramel champagne charcoal cheetah chestnut chocolate christmas coffee "
    "cognac copper coral cranberry cream crystal dark denim eggplant elephant espresso fuchsia "
    "gold granite grape graphite grass gray green grey heather indigo ivory ivy khaki lavender "
    "lemon leopard light lilac lime magenta maroon mauve merlot midnight mint mocha multicolor "
    "mushroom mustard natural navy nude olive orange peach pewter pink plum purple rainbow red "
    "rose royal rust sand sapphire seashell silver skull slate steel stone stonewash sunflower "
    "tan taupe teal tiger turquoise violet walnut wheat white wine yellow"
)
WORDS = tuple(_WORDS.split())


def normal(value: str) -> str:
    """Give the first of the words that a value contains, or the value itself.

    >>> normal("charcoal heather (light)"), normal("38w x 30l")
    ('charcoal', '38w x 30l')
    """
    return next((word for word in WORDS if word in value), value)
