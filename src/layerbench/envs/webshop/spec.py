"""WebShop for the registry."""

from layerbench.envs.spec import EnvSpec

# As in verl-agent's WebShop run (arXiv 2505.10978).
_LONG_PROMPTS = {"agent.max_prompt_tokens": 4096}

SPEC = EnvSpec(
    env="layerbench.envs.webshop.env:WebShopEnv",
    gym_id="layerbench/WebShop-v0",
    max_turns=15,
    counts_turns=True,
    tasks="layerbench.envs.webshop.env:list_tasks",
    options={
        "data_dir": None,
        "observation_mode": "text",
        "split_scheme": "upstream",
        "goal_source": "synthetic",
        "strict_upstream": True,
        "show_attributes": False,
        "reward": "success",
    },
    # [SEP] and ten results a page are WebShop's own: see ``pages``.
    rules=(
        "You shop online for what an instruction asks: a kind of product with certain features, "
        "certain options, and a highest price. The pages of the shop are given to you as text, "
        "with [SEP] between their parts. Search with search[your words]; click a text of the page "
        "with click[text]. Results are listed by product id, ten a page. Open a product by its id, "
        "click each option that was asked for, and read its description and features if its title "
        "leaves doubts. click[buy now] ends the episode, and only a product that meets every point "
        "earns full marks. You have few actions, so do not wander."
    ),
    presets={
        # A purchase takes 4 to 7 actions; 256 tasks are as many as ALFWorld's two splits have.
        "default": {"env.max_turns": 10, "model.name": "embedded", "eval.tasks": 256},
        "quick": {"env.max_turns": 10, "model.name": "embedded"},
        "quick-generate": {"env.max_turns": 4, **_LONG_PROMPTS},
        "small": {"env.max_turns": 10},
        "paper": _LONG_PROMPTS,
    },
    source="layerbench.envs.webshop.env:source_of",
    origin_options=("data_dir",),
)
