# The public names of homolog.zoo: type checkers read them here, lazy_loader imports each on first use.
from .catalogue import list_products as list_products
from .catalogue import list_recipes as list_recipes
from .catalogue import list_tasks as list_tasks
from .model import load_matcher as load_matcher
from .task import load_task as load_task
from .weight_files import find_weights as find_weights
from .weight_files import list_weights as list_weights
