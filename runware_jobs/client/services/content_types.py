"""The shapes of the content service's answers and filters. Facts only; every field of an answer may be absent."""

from __future__ import annotations

from typing import Any, Literal, Required, TypedDict

Category = Literal["image", "video", "audio", "text", "3d"]
SortKey = Literal["weight", "releasedAt", "name", "creator", "popularity", "newest", "alpha"]


class _ModelFilters(TypedDict, total=False):
    capability: str
    status: str
    category: Category
    creator: str
    search: str
    sort: SortKey
    order: Literal["asc", "desc"]
    limit: int
    offset: int


class ListModelsOptions(_ModelFilters, total=False):
    """What `list_models` takes for a plain list."""

    paginate: Literal[False]


class PagedListModelsOptions(_ModelFilters, total=False):
    """What `list_models` takes for one page."""

    paginate: Required[Literal[True]]


class ListCollectionsOptions(TypedDict, total=False):
    """What `list_collections` takes."""

    category: str


class GetModelExamplesOptions(TypedDict, total=False):
    """What `get_model_examples` takes."""

    capability: str


class PricingExample(TypedDict, total=False):
    """One configuration of a model and its price, as text for people."""

    configuration: str
    price: str
    competitorPrice: str


class ModelMetadata(TypedDict, total=False):
    """One curated model; `model` is its slug, `creator`, `architecture` and `capabilities` are ids."""

    model: str
    air: str
    name: str
    creator: str
    capabilities: list[str]
    architecture: str
    hosted: bool
    status: str
    replacedBy: str
    releasedAt: str
    weight: float
    headline: str
    description: str
    coverImage: str
    ogImage: str
    pricingOverview: str
    pricingExamples: list[PricingExample]


class ModelPage(TypedDict):
    """One page of models; `total` is the platform's count and includes models that the page hides."""

    total: int
    limit: int
    offset: int
    items: list[ModelMetadata]


class ExampleMetadata(TypedDict, total=False):
    """A request and the response that it got, on the wire."""

    id: str
    title: str
    model: str
    capability: str
    asset: str | None
    request: dict[str, Any]
    response: dict[str, Any]


class PricingModelListItem(TypedDict, total=False):
    """The prices of one model, as text for people."""

    model: str
    air: str
    name: str
    status: str
    category: list[str]
    coverImage: str
    releasedAt: str
    pricingOverview: str
    pricingExamples: list[PricingExample]


class GuideMetadata(TypedDict, total=False):
    """Where to read about a model."""

    slug: str
    title: str
    description: str
    date: str
    url: str


class Capability(TypedDict):
    """One word of the taxonomy (`io:text-to-image`) and its label."""

    id: str
    label: str


class CollectionWithModels(TypedDict, total=False):
    """A group of models that the platform has put together, the models in full."""

    id: str
    name: str
    order: float
    headline: str
    description: str
    icon: str
    coverImage: str
    category: list[str]
    models: list[ModelMetadata]


class CreatorWithModels(TypedDict, total=False):
    """Who made models, and these in full."""

    id: str
    name: str
    logo: str
    headline: str
    description: str
    models: list[ModelMetadata]
