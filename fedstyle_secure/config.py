"""Every setting of a run: its name, its type, its range and its default.

One frozen tree of sections. TOML files and `-s section.key=value` fill it; `to_flat` and `from_flat`
carry it through Flower, whose run configuration knows only flat keys and scalar values.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from fedstyle_secure.errors import ConfigError
from fedstyle_secure.hints import did_you_mean
from fedstyle_secure.names import WORDS, Names
from fedstyle_secure.registry import settings_named

Scalar = str | int | float | bool

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
"""As torch names them; see `devices`."""

PLACES = ("run.folder", "run.studios", "gallery.path")
"""Settings that say where folders lie; no figure of a run follows from them."""

FEWEST_PICTURES = 2
"""That an artist must have, whatever `gallery.min_pictures` says."""

Share = Annotated[float, Field(ge=1e-6, le=1e6)]


def all_none_or_names(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or (len(names) > 1 and set(WORDS) & set(names)):
        raise ValueError("all, none or names")
    return names


class Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False
    )


class RunSection(Section):
    """The run as a whole."""

    system: str = Field("style", description="What is learned; another package may bring more systems.")
    seed: int = Field(0, ge=0, lt=2**31, description="Data order and public initialisation. Never noise.")
    plan: Literal["set", "auto"] = Field(
        "set",
        description="What trains: as set, or as a rehearsal on procedural pictures finds best.",
    )
    rounds: int = Field(16, ge=1, le=10_000, description="Federated rounds with local training.")
    device: DeviceName = Field(
        "cpu",
        description="Where public learning, adapters and drawing are computed; what is released, on the CPU.",
    )
    folder: str = Field("", description="Where the run is written. Empty: runs/NAME, NAME from the config.")
    studios: str = Field(
        "", description="Folder that stands for the artists' own disks. Empty: `studios` beside the run."
    )
    min_artists: int = Field(2, ge=1, description="Replies that a round needs; fewer stop the run.")
    timeout: float = Field(600.0, gt=0, description="Seconds to wait for what artists make in a round.")
    announce_timeout: float = Field(
        120.0, gt=0, description="Seconds to wait for artists to announce themselves for an encrypted sum."
    )
    open_timeout: float = Field(600.0, gt=0, description="Seconds to wait for the opener of a sum.")


def _of(*sources: str, default: Any, description: str, **limits: Any) -> Any:
    """A setting that only these kinds of gallery have."""
    said = f"{', '.join(sources)}: {description}"
    return Field(default, description=said, json_schema_extra={"sources": list(sources)}, **limits)


class GallerySection(Section):
    """Where artworks come from."""

    opener: ClassVar[str] = "fedstyle_secure.galleries.opening:open_pictures"
    """What makes a gallery of these settings, `package.module:function`: another one where artworks are not
    square pictures."""

    strangers: ClassVar[str] = "fedstyle_secure.galleries.opening:painters"
    """What makes a gallery of artists who are in no other one, of these settings, a number and a seed."""

    strangers_keep_labels: ClassVar[bool] = False
    """Whether a stranger's picture among an artist's keeps its label; else it gets one of the artist's."""

    source: Literal["atelier", "folder", "hub"] = Field("atelier", description="Kind of gallery.")
    size: int = Field(64, ge=32, le=512, description="Side of the square pictures, in pixels.")
    test_fraction: float = Field(
        0.25, gt=0, lt=1, description="Held-out share where no split is given; each picture by its own hash."
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of procedural pictures and of random splits.")
    min_pictures: int = _of(
        "folder", "hub", default=4, ge=FEWEST_PICTURES,
        description="pictures an artist needs that no table holds out.",
    )  # fmt: skip
    on_bad: Literal["refuse", "skip"] = _of(
        "folder", "hub", default="refuse", description="what a bad picture does."
    )
    path: str = _of("folder", default="", description="the gallery's folder.")
    split_column: str = _of(
        "folder", default="split", description="the column of split.csv that says train or test."
    )
    public: Names = _of(
        "folder", "hub", default=Names.read(""), description="artists whose pictures the platform owns."
    )
    artists: int = _of("atelier", default=16, ge=1, le=100_000, description="private artists.")
    pictures: int = _of("atelier", default=60, ge=2, le=10_000, description="pictures an artist.")
    public_artists: int = _of("atelier", default=16, ge=1, le=10_000, description="public artists.")
    dataset: str = _of("hub", default="", description="data set name, or a local folder.")
    dataset_split: str = _of("hub", default="train", description="split of the data set to read.")
    artist_column: str = _of("hub", default="artist", description="column that names the artist.")
    image_column: str = _of("hub", default="image", description="column that holds the picture.")
    label_column: str = _of("hub", default="", description="column of the label (style, text); empty: none.")
    max_artists: int = _of(
        "hub", default=0, ge=0, description="private artists kept, those with most pictures; 0 keeps all."
    )
    keep_fraction: float = _of(
        "hub",
        default=1.0,
        gt=0,
        le=1,
        description="share of the pictures used, each by its own hash.",
    )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of a picture."""
        return self.size, self.size

    @model_validator(mode="after")
    def _only_of_the_source(self) -> Self:
        for key, field in type(self).model_fields.items():
            extra = field.json_schema_extra
            sources = list(extra["sources"]) if isinstance(extra, dict) else [self.source]  # type: ignore[arg-type]
            value = getattr(self, key)
            if self.source not in sources and value != field.default:
                raise ValueError(
                    f"gallery.{key} = {value!r} is a setting of gallery.source = "
                    f"{' or '.join(map(repr, sources))}, and gallery.source is {self.source!r}; set that, or "
                    f"leave gallery.{key} out"
                )
        return self


class SecureSumSection(Section):
    """The encrypted sum: the platform adds up what it cannot read, the opener opens the sum alone."""

    enabled: bool = Field(
        True, description="Encrypt what is only ever used as a sum (unit artist: everything)."
    )
    updates: bool = Field(True, description="Sum the updates under encryption too (unit artwork).")
    bits: int = Field(16, ge=4, le=20, description="Bits of a value of sums with artists' own noise.")


class TrainingSection(Section):
    """Local training and what the platform does with it."""

    local_steps: int = Field(1, ge=0, le=1000, description="DP-SGD steps of an artist in a round.")
    sampling_rate: float = Field(1.0, gt=0, le=1, description="Poisson sampling rate of a step.")
    expected_pictures: int = Field(
        45, ge=1, le=10**9, description="Public guess of a portfolio's size; scales steps."
    )
    learning_rate: Annotated[float, Field(gt=0, le=1000)] | Literal["auto"] = Field(
        "auto", description="Step size of an artist; auto: as the system finds fit."
    )
    realign_steps: int = Field(
        0,
        ge=0,
        le=1000,
        description="Public steps of the platform after a round, which draw the model back to its own "
        "pictures; they cost no privacy.",
    )
    realign_rate: float = Field(0.1, gt=0, le=100, description="Step size of those: how far they draw.")


class ServerTrainingSection(TrainingSection):
    """Local training and what the platform does with it."""

    server_optimizer: Literal["mean", "adam"] = Field(
        "adam", description="How the platform moves by the artists' mean update."
    )
    server_rate: float = Field(1.5e-3, gt=0, le=10, description="adam: step size of the platform.")


class PrivacySection(Section):
    """The guarantee."""

    dp: Literal["on", "off"] = Field("on", description="Differential privacy of every release.")
    unit: Literal["artwork", "artist"] = Field(
        "artwork",
        description="Neighbours differ in one artwork, or in one artist (nothing leaves under a name then).",
    )
    target_epsilon: float = Field(
        8.0,
        ge=0.05,
        le=1000,
        description="Total over all releases of an artist; smaller hides more, and half takes nearly "
        "twice the noise.",
    )
    delta: float = Field(1e-5, gt=0, lt=0.1, description="Failure probability of the guarantee.")
    noise_multiplier: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="Noise of a step in clip norms; auto: by target_epsilon, a number: instead of it."
    )
    clip_norm: float = Field(
        1.0,
        gt=0,
        description="L2 bound on a picture's gradient (unit artwork) or an artist's update (artist).",
    )
    budget_epsilon: Annotated[float, Field(gt=0)] | Literal["none"] = Field(
        "none", description="Most that an artist spends over all runs; a round beyond it is declined."
    )
    min_cohort: Annotated[int, Field(ge=2)] | Literal["auto"] = Field(
        "auto", description="shared noise: artists that a sum needs; auto: nine tenths of the roster."
    )
    colluders: int = Field(1, ge=0, description="shared noise: artists whose noise may be known to others.")
    noise: Literal["auto", "shared", "own"] = Field(
        "auto",
        description="unit artwork: artists add shares of one noise to an encrypted sum, or each all of its "
        "own; auto: shared where sums are encrypted.",
    )
    shares: Literal["gaussian", "skellam"] = Field(
        "gaussian", description="unit artist: distribution of the artists' integer noise."
    )


class ShareSection(Section):
    """How the budget is split over the kinds of release (relative weights)."""

    sgd: Share = Field(
        0.12, description="Share of DP-SGD in the budget; more of it: less noise there, and more elsewhere."
    )


class AuditSection(Section):
    """What a run leaves for an auditor."""

    record: Names = Field(
        Names.read("none"),
        description='Artists whose messages are kept, as sensitive as those are: "all", "none" or names.',
    )
    record_limit_mb: float = Field(
        256.0, gt=0, description="Most that a record may take, in MB of 10^6 bytes; told before the run."
    )
    canaries: int = Field(
        0, ge=0, le=100_000, description="Records planted to be looked for, each in by a fair coin."
    )
    canary_kind: Literal["auto", "gradient", "mislabelled", "foreign", "artist"] = Field(
        "auto",
        description="What is planted; auto: a gradient, or a whole artist where that is the unit of privacy.",
    )

    _allowed = field_validator("record")(all_none_or_names)


class Sections(Section):
    """Settings in named sections, as a TOML file has them."""

    def to_flat(self) -> dict[str, Scalar]:
        """Every setting as `section.key`, scalars only; a list of names is its JSON."""
        return {
            f"{section}.{key}": json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
            for section, values in self.model_dump().items()
            for key, value in values.items()
        }

    @classmethod
    def _validated(cls, values: Mapping[str, Any], origin: str) -> Self:
        """Built from nested sections. Raises ConfigError in one line that names the key."""
        cls._refuse_unknown(values, origin)
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise ConfigError(f"{origin}: {cls._explain(error)}") from None

    @classmethod
    def allowed(cls, key: str) -> str:
        """What a `section.key` may be, in words: type, range or choices."""
        section, _, name = key.partition(".")
        schema = cls._sections()[section].model_json_schema()["properties"][name]
        return " or ".join(_describe(option) for option in schema.get("anyOf", [schema]))

    @classmethod
    def _nest(cls, items: Iterable[tuple[str, Any]], origin: str) -> dict[str, dict[str, Any]]:
        nested: dict[str, dict[str, Any]] = {}
        for key, value in items:
            section, dot, name = key.partition(".")
            if not dot:
                raise ConfigError(f"{origin}: {key!r} is not section.key{did_you_mean(key, cls._all_keys())}")
            nested.setdefault(section, {})[name] = value
        return nested

    @classmethod
    def _sections(cls) -> dict[str, type[Section]]:
        return {
            name: field.annotation
            for name, field in cls.model_fields.items()
            if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        }

    @classmethod
    def _all_keys(cls) -> list[str]:
        return [f"{name}.{key}" for name, section in cls._sections().items() for key in section.model_fields]

    @classmethod
    def _refuse_unknown(cls, values: Mapping[str, Any], origin: str) -> None:
        for section, keys in values.items():
            if section not in cls.model_fields:
                raise ConfigError(
                    f"{origin}: unknown section {section!r}{did_you_mean(section, cls.model_fields)}"
                )
            if not isinstance(keys, Mapping):
                raise ConfigError(f"{origin}: {section!r} is a section; set a key inside it")
            known = [key for key in cls._all_keys() if key.startswith(f"{section}.")]
            for key in keys:
                if f"{section}.{key}" not in known:
                    elsewhere = [full for full in cls._all_keys() if full.split(".", 1)[1] == key]
                    hint = f"; did you mean {elsewhere[0]!r}?" if elsewhere else did_you_mean(key, known)
                    raise ConfigError(f"{origin}: unknown setting '{section}.{key}'{hint}")

    @classmethod
    def _explain(cls, error: ValidationError) -> str:
        """One line for the first problem: the key, the value that was given, what is allowed."""
        problem = error.errors()[0]
        if len(problem["loc"]) < 2:
            return str(problem["ctx"]["error"])
        key = ".".join(str(part) for part in problem["loc"][:2])
        return f"{key} = {problem['input']!r} is not allowed; allowed: {cls.allowed(key)}"


Idle = tuple[str, Callable[[Any], bool], tuple[str, ...]]
"""What makes settings idle, whether it holds, and which they are."""


class Config(Sections):
    """All settings of a run: those of the house, and in a subclass those of one system.

    `Config(...)` is of the class of the system that `run.system` names.
    """

    run: RunSection = RunSection()
    gallery: GallerySection = GallerySection()
    secure_sum: SecureSumSection = SecureSumSection()
    training: TrainingSection = TrainingSection()
    privacy: PrivacySection = PrivacySection()
    share: ShareSection = ShareSection()
    audit: AuditSection = AuditSection()

    idle: ClassVar[tuple[Idle, ...]] = ()
    """Rules of the system's own sections."""

    places: ClassVar[tuple[str, ...]] = PLACES
    """Settings that say where something lies, the system's own among them."""

    @property
    def learning_rate(self) -> float:
        """Step size of an artist."""
        given = self.training.learning_rate
        return self.usual_rate if given == "auto" else given

    @property
    def usual_rate(self) -> float:
        """Step size where the settings say `auto`; a system may know better."""
        return 0.6

    @property
    def shares_noise(self) -> bool:
        """Whether encrypted sums of the unit artwork hold one noise, of which each artist adds a share."""
        private = self.privacy.dp == "on" and self.privacy.noise_multiplier != 0
        sums = self.secure_sum.enabled and self.privacy.unit == "artwork"
        return private and sums and self.privacy.noise != "own"

    def __new__(cls, **values: Any) -> Self:
        """Of the named system's class, where the class asked for is of none."""
        if cls is Config:
            run = values.get("run")
            cls = cls.of_system(run.system if isinstance(run, RunSection) else _named(values))
        return super().__new__(cls)

    @classmethod
    def of_system(cls, name: str) -> type[Self]:
        """The settings of a system.

        Raises:
            ConfigError: There is no such system.
        """
        found: type[Self] = settings_named(name)
        if not issubclass(found, cls):
            raise ConfigError(f"run.system = {name!r} has no settings of the type {cls.__name__}")
        return found

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], origin: str = "configuration") -> Self:
        """Build from nested sections.

        Raises:
            ConfigError: A key is unknown or a value is not allowed; the line names the key, the
                allowed values and, for a key, the nearest valid name.
        """
        own = cls.of_system(_named(values)) if cls is Config else cls
        return own._validated(values, origin)

    @classmethod
    def from_flat(cls, flat: Mapping[str, Scalar], origin: str = "run configuration") -> Self:
        """Build from dotted keys, as Flower carries them. Raises ConfigError as `from_dict` does."""
        return cls.from_dict(cls._nest(flat.items(), origin), origin)

    @classmethod
    def load(cls, path: Path, settings: Iterable[str] = ()) -> Self:
        """Read a TOML file and apply `section.key=value` settings over it.

        Raises:
            ConfigError: The file is missing or no TOML, or as `from_dict`.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such configuration file") from None
        except IsADirectoryError:
            raise ConfigError(f"{path}: is a folder, not a configuration file") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not a TOML file: {error}") from None
        return cls.from_dict(values, str(path)).override(settings)

    def override(self, settings: Iterable[str]) -> Self:
        """Return a copy with `section.key=value` settings applied. Raises ConfigError as `from_dict`."""
        flat = dict(self.to_flat())
        for setting in settings:
            key, equals, text = setting.partition("=")
            if not equals:
                raise ConfigError(f"-s {setting}: expected section.key=value")
            if not setting.isprintable() and any("\ud800" <= c <= "\udfff" for c in setting):
                raise ConfigError(f"-s {setting!r}: is not UTF-8")
            key = key.strip()
            self._refuse_unknown(self._nest([(key, text)], f"-s {setting}"), f"-s {setting}")
            flat[key] = self._parse(key, text.strip())
        if flat["run.system"] != self.run.system:
            raise ConfigError(
                f"-s run.system={flat['run.system']}: is named in the configuration file only, as other "
                f"settings go with it: [run] system = {flat['run.system']!r}"
            )
        return self.from_flat(flat, "-s")

    @classmethod
    def _parse(cls, key: str, text: str) -> Any:
        """A value as TOML writes it; text without quotes is text, whatever it looks like."""
        section, _, name = key.partition(".")
        kind: Any = cls._sections()[section].model_fields[name].annotation
        if kind not in (str, Names):
            return _toml_value(text)
        value = _toml_value(text) if kind is str else text
        return value if isinstance(value, str) else text

    def at(self, gallery_path: str) -> Self:
        """The same with pictures that lie elsewhere."""
        return self.from_flat(self.to_flat() | {"gallery.path": gallery_path})

    def digest(self) -> str:
        """SHA-256 of every setting but `places`, 64 hexadecimal digits: what artists and opener agree on."""
        settled = {key: value for key, value in self.to_flat().items() if key not in self.places}
        return hashlib.sha256(json.dumps(settled, sort_keys=True).encode()).hexdigest()

    def to_toml(self) -> str:
        """The resolved settings as TOML text that `load` reads back to an equal Config."""
        return tomli_w.dumps(self.model_dump())

    @classmethod
    def describe(cls) -> list[dict[str, Any]]:
        """Every setting: `key`, `default`, `allowed` in words, `help`."""
        cls = cls.of_system(RunSection().system) if cls is Config else cls
        defaults = cls().to_flat()
        return [
            {
                "key": key,
                "default": defaults[key],
                "allowed": cls.allowed(key),
                "help": cls._sections()[key.split(".")[0]].model_fields[key.split(".")[1]].description,
            }
            for key in cls._all_keys()
        ]


def _describe(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(repr(choice) for choice in schema["enum"])
    if "const" in schema:
        return repr(schema["const"])
    if "enum" in schema.get("items", {}):
        return f"a list of {_describe(schema['items'])}"
    if "pattern" in schema:
        return f"text that matches {schema['pattern']}"
    kind = {
        "integer": "a whole number",
        "number": "a number",
        "string": "text",
        "array": 'names: a list, ["ann", "bo"], or joined by commas',
        "boolean": "true or false",
    }[schema["type"]]
    bounds = [
        f"{sign} {schema[name]:.10g}"
        for name, sign in (
            ("minimum", ">="),
            ("exclusiveMinimum", ">"),
            ("maximum", "<="),
            ("exclusiveMaximum", "<"),
        )
        if name in schema
    ]
    return " ".join([kind, " and ".join(bounds)]).strip()


def _toml_value(text: str) -> Any:
    """The one value that the text is in TOML, else the text."""
    try:
        values = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return values["value"] if len(values) == 1 else text


def _named(values: Mapping[str, Any]) -> str:
    """The system that settings name; whatever is wrong with them is said later."""
    run = values.get("run")
    name = run.get("system") if isinstance(run, Mapping) else None
    return name if isinstance(name, str) else RunSection().system
