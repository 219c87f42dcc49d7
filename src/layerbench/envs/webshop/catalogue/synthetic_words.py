"""The vocabulary of the generated catalogue."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Department:
    """The words of one category.

    Attributes:
        share: Number among 1,000 products, as in WebShop's small catalogue.
        kinds: Kinds of product by subcategory, in the singular.
        qualities: Attributes that stand before the kind.
        parts: Attributes that stand after "with".
        uses: Attributes that stand after "for".
        prices: Lowest and highest usual price, in dollars.
        options: Names of options, the most frequent first; see ``OPTION_VALUES``.
    """

    share: int
    kinds: Mapping[str, tuple[str, ...]]
    qualities: tuple[str, ...]
    parts: tuple[str, ...]
    uses: tuple[str, ...]
    prices: tuple[float, float]
    options: tuple[str, ...]


def _listed(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(","))


DEPARTMENTS: Mapping[str, Department] = {
    "beauty": Department(
        share=238,
        kinds={
            "Hair Care": _listed("shampoo, hair mask, hair brush, curling iron, hair serum"),
            "Skin Care": _listed("face cream, body lotion, lip balm, hand cream, eye gel"),
            "Makeup": _listed("eye shadow, lipstick, makeup brush, nail polish, face powder"),
            "Bath": _listed("bath salt, soap bar, bath sponge, shower gel, body scrub"),
        },
        qualities=_listed(
            "cruelty free, paraben free, oil free, long lasting, fragrance free, travel size, "
            "fast absorbing, easy apply"
        ),
        parts=_listed("coconut oil, tea tree, aloe vera, argan oil, green tea, shea butter"),
        uses=_listed("dry skin, sensitive skin, damaged hair, daily care, oily skin, mature skin"),
        prices=(4.0, 45.0),
        options=("scent", "color", "size"),
    ),
    "electronics": Department(
        share=229,
        kinds={
            "Audio": _listed("headphone, bluetooth speaker, sound bar, microphone, radio"),
            "Video": _listed("projector, action camera, tripod, video light, camera lens"),
            "Computers": _listed("keyboard, mouse pad, tablet stand, hard drive, usb cable"),
            "Phones": _listed("phone case, wall charger, power bank, screen protector, car mount"),
        },
        qualities=_listed(
            "high speed, noise cancelling, water resistant, fast charging, light weight, "
            "heavy duty, easy install, shock proof"
        ),
        parts=_listed(
            "carrying case, touch screen, led display, remote control, volume knob, metal clip"
        ),
        uses=_listed(
            "home theater, outdoor sports, video calls, night vision, car travel, office work"
        ),
        prices=(8.0, 180.0),
        options=("color", "style", "size"),
    ),
    "garden": Department(
        share=216,
        kinds={
            "Furniture": _listed("console table, ottoman, bookcase, bar stool, night stand"),
            "Textiles": _listed("throw pillow, area rug, curtain, throw blanket, table runner"),
            "Lighting": _listed("floor lamp, table lamp, wall sconce, string light, candle holder"),
            "Decor": _listed("wall mirror, wall clock, flower vase, photo frame, plant pot"),
        },
        qualities=_listed(
            "machine washable, space saving, easy clean, easy assemble, fade resistant, "
            "hand made, eco friendly, scratch proof"
        ),
        parts=_listed(
            "storage drawer, metal legs, wood frame, glass top, velvet cover, rubber feet"
        ),
        uses=_listed(
            "living room, dining room, small bedroom, home office, kids room, front porch"
        ),
        prices=(12.0, 240.0),
        options=("color", "size", "style"),
    ),
    "fashion": Department(
        share=200,
        kinds={
            "Tops": _listed("shirt, sweater, hoodie, blouse, tank top"),
            "Bottoms": _listed("skirt, cargo short, yoga pant, denim jean, legging"),
            "Outerwear": _listed("rain jacket, winter coat, vest, cardigan, parka"),
            "Shoes": _listed("sneaker, loafer, sandal, ankle boot, slipper"),
        },
        qualities=_listed(
            "slim fit, machine wash, quick dry, loose fit, hand wash, wrinkle free, "
            "classic fit, ultra soft"
        ),
        parts=_listed(
            "rubber sole, elastic waist, side pockets, button closure, cotton lining, zip closure"
        ),
        uses=_listed(
            "daily wear, cold weather, beach holidays, gym workout, formal dinner, rainy days"
        ),
        prices=(9.0, 90.0),
        options=("size", "color", "fit type"),
    ),
    "grocery": Department(
        share=117,
        kinds={
            "Snacks": _listed("potato chip, fruit bar, trail mix, rice cracker, popcorn"),
            "Drinks": _listed("herbal tea, ground coffee, cocoa mix, fruit juice, oat milk"),
            "Pantry": _listed("pasta sauce, peanut butter, olive oil, pancake mix, bean soup"),
            "Sweets": _listed("candy bar, cookie, honey jar, jam spread, cake topper"),
        },
        qualities=_listed(
            "gluten free, sugar free, dairy free, non gmo, low sodium, plant based, "
            "keto friendly, fat free"
        ),
        parts=_listed(
            "sea salt, real fruit, natural flavors, whole grain, dark cocoa, roasted nuts"
        ),
        uses=_listed(
            "quick breakfast, road trips, school lunch, party guests, baking day, gift baskets"
        ),
        prices=(3.0, 40.0),
        options=("flavor name", "size", "style"),
    ),
}

_COLORS = _listed(
    "black, white, grey, navy, red, green, yellow, pink, purple, brown, beige, orange, teal, ivory"
)
_AMOUNTS = _listed("small, medium, large, x-large, xx-large, jumbo")
OPTION_VALUES: Mapping[str, tuple[str, ...]] = {
    "color": _COLORS,
    "size": _AMOUNTS,
    "scent": _listed("lavender, vanilla, mint, rose, citrus, cedar, jasmine, peach"),
    "style": _listed("basic, modern, vintage, deluxe, compact, twin"),
    "fit type": _listed("men, women, youth"),
    "flavor name": _listed("lemon, cherry, maple, ginger, cinnamon, apple, mango, hazelnut"),
}
VALUE_COUNTS = {"color": (4, 8), "size": (4, 6), "fit type": (2, 3)}
"""Fewest and most values of an option; ``DEFAULT_VALUE_COUNT`` for the others."""
DEFAULT_VALUE_COUNT = (3, 6)

BRANDS = _listed(
    "Alvora, Brellin, Corvane, Dunmere, Elquist, Farrowby, Galdon, Hestin, Ivarro, Jorvane, "
    "Kelmora, Lunvik, Mirabo, Nordell, Ostrava, Pellway, Quenby, Rivano, Solvane, Tavrik, "
    "Umbria, Velmont, Wexley, Yarrowin, Zendril"
)

# Ids of two words are easier to copy for a small model than ten letters and digits.
ID_STARTS = _listed(
    "ace, arch, bay, bell, bolt, cape, cove, dale, dawn, dusk, elm, fern, fig, ford, gale, glen, "
    "hill, iris, jade, keen, lake, lark, leaf, mill, moon, north, oak, palm, pine, reed, rook, sky"
)
ID_ENDS = _listed(
    "ant, bear, bee, boar, bull, cat, cod, colt, cow, crab, crow, deer, dog, dove, duck, eel, "
    "elk, emu, ewe, fawn, fish, fox, frog, goat, gnat, hare, hawk, hen, ibis, jay, kite, lamb"
)

OPENERS = _listed("Meet our, A trusty, The new, Our own, A well made, A much loved")
CLOSERS = (
    "Packed by hand in our own workshop.",
    "Comes in a plain box without plastic.",
    "A year of guarantee is included.",
    "Please read the leaflet before the first use.",
    "Ships within two days.",
    "Questions are answered every weekday.",
)


def plural(kind: str) -> str:
    """Return the plural of a kind.

    >>> plural("hair brush"), plural("lip balm")
    ('hair brushes', 'lip balms')
    """
    return f"{kind}es" if kind.endswith(("s", "sh", "ch", "x")) else f"{kind}s"
