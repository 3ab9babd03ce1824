"""`remoteclip check FILE...`: tells what kind of file it is, and everything that is wrong with it."""

from __future__ import annotations

from pathlib import Path

from firmware_cfg.device import DeviceFile
from firmware_cfg.errors import ConfigError, ConfigErrors
from firmware_cfg.located_yaml import LocatedYaml, parse_located_yaml, read_config_bytes, validate_located
from firmware_cfg.long_lists import long_list_remark
from firmware_cfg.names import closest
from firmware_cfg.prompt_list import PromptList

_CANNOT_TELL = "a prompt list has the key prompts with a list below it, a device file has device and source"


def check_file(path: str | Path) -> list[ConfigError]:
    """Every problem of a prompt list or device file, in the order of the file; empty when it is good.

    A good device file's prompt list is checked too, where it is on this machine.
    """
    try:
        located = parse_located_yaml(read_config_bytes(path), str(path))
        model = _kind(located)
        checked = validate_located(located, model, base=Path(path).parent)
    except ConfigErrors as error:
        return list(error.errors)
    if isinstance(checked, DeviceFile) and checked.prompts.is_file():
        return _check_prompts(checked.prompts)
    return []


def remark_of(path: str | Path) -> str | None:
    """What to know of a good prompt list, or of a good device file's; None where there is nothing."""
    located = parse_located_yaml(read_config_bytes(path), str(path))
    checked = validate_located(located, _kind(located), base=Path(path).parent)
    if isinstance(checked, DeviceFile):
        return remark_of(checked.prompts) if checked.prompts.is_file() else None
    return long_list_remark(checked)


def is_device_file(path: str | Path) -> bool:
    """Whether a file is read as a device file. Raises ConfigErrors where that cannot be told."""
    return _kind(parse_located_yaml(read_config_bytes(path), str(path))) is DeviceFile


def _check_prompts(path: Path) -> list[ConfigError]:
    """Every problem of a file that must be a prompt list."""
    try:
        validate_located(parse_located_yaml(read_config_bytes(path), str(path)), PromptList)
    except ConfigErrors as error:
        return list(error.errors)
    return []


def _kind(located: LocatedYaml) -> type[PromptList] | type[DeviceFile]:
    """The model that most of the file's keys belong to; near misses count, since keys may be misspelt."""
    data = located.data
    if not isinstance(data, dict):
        raise ConfigErrors([ConfigError(located.name, 1, 1, "is not a mapping of keys", _CANNOT_TELL)])
    if isinstance(data.get("prompts"), list):
        return PromptList
    of_list, of_device = set(PromptList.model_fields), set(DeviceFile.model_fields)
    both = of_list & of_device
    near = {closest(key, of_list | of_device) for key in data}
    for_list, for_device = len(near & of_list - both), len(near & of_device - both)
    if for_list == for_device:
        place = located.value_place(())
        problem = "cannot tell whether this is a prompt list or a device file"
        raise ConfigErrors([ConfigError(located.name, place.line, place.column, problem, _CANNOT_TELL)])
    return PromptList if for_list > for_device else DeviceFile
