"""Attributes of exceptions, classes and modules as Python itself keeps them.

A class of the author's may override any of these names, or raise when asked for one: its code doesn't run here.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

get_dict: Any = vars(BaseException)["__dict__"].__get__
get_cause: Any = vars(BaseException)["__cause__"].__get__
get_context: Any = vars(BaseException)["__context__"].__get__
get_suppress_context: Any = vars(BaseException)["__suppress_context__"].__get__
get_traceback: Any = vars(BaseException)["__traceback__"].__get__
get_args: Any = vars(BaseException)["args"].__get__
set_args: Any = vars(BaseException)["args"].__set__
get_group_members: Any = vars(BaseExceptionGroup)["exceptions"].__get__

get_mro: Any = vars(type)["__mro__"].__get__
get_flags: Any = vars(type)["__flags__"].__get__
get_class_dict: Any = vars(type)["__dict__"].__get__

get_module_dict: Any = vars(ModuleType)["__dict__"].__get__
