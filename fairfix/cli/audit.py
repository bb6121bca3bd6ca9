"""``fairfix audit``: every metric with its interval, by group, intersection and subgroup."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table

from fairfix._utils.atomic_write import check_destination, write_text
from fairfix._utils.detail import Detail
from fairfix._utils.number_text import exact_text
from fairfix._utils.text import plain_number, plain_threshold, shorten
from fairfix.cli.class_tables import class_tables
from fairfix.cli.console import build_table, print_json, print_messages, print_output, wrap
from fairfix.cli.each_label import for_each_label, labels_document
from fairfix.cli.option_values import OptionValues
from fairfix.cli.other_model import other_model
from fairfix.cli.reference_groups import reference_groups
from fairfix.metrics.fairness_metrics import goal
from fairfix.metrics.fairness_metrics import title as title_of
from fairfix.report.compared_models import compared_rows
from fairfix.report.figures import named_figures
from fairfix.report.markdown import figure, plain_figure
from fairfix.report.reference_table import reference_table
from fairfix.report.sentences import audit_headline, certifiable_sentence
from fairfix.workflows.audit import audit, choose_rule, ruled
from fairfix.workflows.compared import compared_model
from fairfix.workflows.documents import audit_document
from fairfix.workflows.explored import explored_audit
from fairfix.workflows.open_case import position_warning
from fairfix.workflows.warnings import reversed_scores

Document = dict[str, Any]


def run(
    *,
    model: str,
    data: Path,
    rule: Path | None,
    power: bool,
    compare: list[Path] | None,
    html: Path | None,
    force: bool,
    json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    values = OptionValues.collect("audit", given, data, model=model)
    if several := for_each_label(
        values, model, {"rule": rule, "html": html, "compare": compare or None}
    ):
        documents = {}
        for label, own in several.items():
            document, _ = _measure(own, model, data, None, None, (), force=force, quiet=quiet)
            documents[label] = document
            if not (json or quiet):
                print_output(f"Label {label}", *(_power(document) if power else _tables(document)))
        if json:
            print_json(labels_document(documents))
        for label, document in documents.items():
            said = (f"warning: {label}: {warning}" for warning in _warnings(document))
            print_messages(said, quiet=quiet)
        return
    others = tuple(compare or ())
    document, page = _measure(values, model, data, rule, html, others, force=force, quiet=quiet)
    if html is not None:
        write_text(html, page())
    if json:
        print_json(document)
    elif not quiet:
        print_output(*(_power(document) if power else _tables(document)))
        if html is not None:
            print_output(f"wrote {html}")
    print_messages((f"warning: {warning}" for warning in _warnings(document)), quiet=quiet)


def _measure(
    values: OptionValues,
    model: str,
    data: Path,
    rule: Path | None,
    html: Path | None,
    others: tuple[Path, ...],
    *,
    force: bool,
    quiet: bool,
) -> tuple[Document, Callable[[], str]]:
    """Return the document of an audit and a function that makes its page."""
    objective, threshold = values.objective(), values.threshold_without(rule)
    confidence = values.confidence()
    case = values.measured_case(model, data, rule, threshold)
    if html is not None:
        check_destination(html, (*case.files, *others), force=force, option="--html")
    chosen, where = choose_rule(case, threshold=threshold)
    case = ruled(case, chosen)
    notes = (
        *values.file_notes,
        *case.notes,
        Detail(f"decisions by {where}", f"decisions by {where}"),
        *position_warning(case.found),
    )
    print_messages(notes, quiet=quiet)
    subgroups = not values["no_subgroups"]
    measured = audit(case, chosen, objective, confidence=confidence, subgroups=subgroups)
    names = [path.name for path in others]
    for path in others:
        other, own_rule, found = other_model(
            path, data, case, values.model_options(), by_name=False
        )
        print_messages(
            (f"{path}: decisions by {found}", *position_warning(other.found)), quiet=quiet
        )
        name = path.name if names.count(path.name) == 1 else str(path)
        compared = audit(other, own_rule, objective, confidence=confidence, subgroups=False)
        added = compared_model(measured, compared, name)
        measured = replace(measured, compared=(*measured.compared, added))
    document = audit_document(case, chosen, measured)
    if measured.subgroups is not None:
        print_messages(measured.subgroups.notes, quiet=quiet)

    def page() -> str:
        from fairfix.report.html import audit_html

        return audit_html(document, explored_audit(case, chosen, confidence, document))

    return document, page


def _warnings(document: Document) -> Iterator[str]:
    first = next(iter(document["groups"].values()))
    auc = first["performance"]["auc"]["value"]
    if auc is not None:
        yield from reversed_scores(auc, "these rows")
    if first["trivial"]:
        yield "the rule is trivial: nearly all rows get the same decision"


def _power(document: Document) -> Iterator[Table | str]:
    """Yield which gap the rows can certify, by group column."""
    for column, measured in document["groups"].items():
        claim = measured["evidence"]["claims"][0]
        yield from wrap(
            f"By {column}, {claim['metric']} within {exact_text(claim['budget'])} at "
            f"{100 * document['confidence']:g} % confidence: {certifiable_sentence(measured)}"
        )


def _tables(document: Document) -> Iterator[Table | str]:
    """Yield the verdict and the tables of an audit; they fit 80 columns."""
    for column, measured in document["groups"].items():
        yield from _verdict(document, column)
        yield _by_group(column, measured)
        yield _gaps(column, measured)
        if pairs := reference_table({"measured": measured}):
            yield reference_groups(pairs)
        if measured["calibration"]:
            yield _calibration(column, measured)
    yield _figures("All rows", next(iter(document["groups"].values()))["performance"])
    if document["compared"]:
        yield _compared(document)
    if document["classes"] is not None:
        yield from class_tables(next(iter(document["groups"])), document["classes"])
    for crossed in document["intersections"]:
        yield _intersection(crossed)
    if document["subgroups"] is not None and document["subgroups"]["found"]:
        yield _subgroups(document["subgroups"])


def _verdict(document: Document, column: str) -> Iterator[str]:
    measured = document["groups"][column]
    claim = measured["evidence"]["claims"][0]
    verdict = audit_headline(document, measured)
    yield f"{column}: {verdict.word.lower()}"
    named = named_figures(claim["metric"], claim)
    figures = ", ".join(f"{name} {plain_figure(each)}" for name, each in named.items())
    for sentence in (
        f"{figures} against a budget of {exact_text(claim['budget'])}",
        f"{claim['reason'][:1].upper()}{claim['reason'][1:]}.",
        certifiable_sentence(measured) or "",
        verdict.sentences[-1] if verdict.tone == "amber" else "",
    ):
        yield from wrap(f"  {sentence}", indent="  ")


RATES = {
    "selection_rate": "positive",
    "tpr": "true positive rate",
    "fpr": "false positive rate",
    "accuracy": "accuracy",
}
ENDS = ("value", "low", "high")


def _by_group(column: str, measured: Document) -> Table:
    groups = measured["groups"]
    metric = goal(measured["evidence"]["claims"][0]["metric"])
    titles = RATES | {rate.key: rate.title for rate in metric.rates if rate.key not in RATES}
    rows = [
        [g["name"], title, *_with_interval(g["rates"][key]), g["rates"][key]["n"]]
        for key, title in titles.items()
        for g in groups
    ]
    rows += [[g["name"], "AUC", *_with_interval(g["auc"]), g["rows"]] for g in groups]
    if len({g["threshold"] for g in groups}) > 1:
        rows += [
            [g["name"], "threshold", plain_threshold(g["threshold"]), "", "", g["rows"]]
            for g in groups
        ]
    return build_table(f"By {column}", ["group", "measure", *ENDS, "n"], rows)


def _with_interval(raw: Document) -> list[str]:
    """Return a value and the ends of its interval, or dashes."""
    return [
        plain_number(raw["value"]),
        *("-" if raw[e] is None else plain_number(raw[e]) for e in ENDS[1:]),
    ]


def _gaps(column: str, measured: Document) -> Table:
    names = [shorten(g["name"]) for g in measured["groups"]]
    sign = f"{names[0]} minus {names[1]}" if len(names) == 2 else "largest minus smallest"
    return _figures(f"{column}: {sign}", measured["gaps"])


def _figures(title: str, figures: Document) -> Table:
    rows = [[title_of(key), key, *_with_interval(f)] for key, f in figures.items()]
    return build_table(title, ["measure", "key", *ENDS], rows)


def _compared(document: Document) -> Table:
    rows = [
        [
            row["label"],
            row["column"],
            _stacked(row["gap"]),
            _stacked(row["performance"]),
            "-" if row["change"] is None else _stacked(row["change"]),
        ]
        for row in compared_rows(document)
    ]
    header = ["model", "by", "gap", "balanced accuracy", "change"]
    title = (
        "Models on the same rows; change of abs(gap) from the other to this model, 95 % interval"
    )
    return build_table(title, header, rows)


def _calibration(column: str, measured: Document) -> Table:
    header = ["group", "favorable labels", "mean score", "too high by", "calibration error"]
    rows = [
        [
            part["name"],
            _stacked(part["base_rate"]),
            plain_number(part["mean_score"]),
            _stacked(part["bias"]),
            (plain_number(part["error"]), f"by chance {plain_number(part['error_by_chance'])}"),
        ]
        for part in measured["calibration"]
    ]
    return build_table(f"{column}: scores against labels", header, rows)


def _stacked(raw: Document) -> tuple[str, ...]:
    """Return a value with its interval below it."""
    value, *interval = figure(raw).split(" ", 1)
    return (value, *interval)


def _intersection(crossed: Document) -> Table:
    rows = [
        [
            g["name"],
            g["rows"],
            *(plain_number(g["rates"][name]["value"]) for name in list(RATES)[:3]),
        ]
        for g in crossed["groups"]
    ]
    gaps = crossed["gaps"]
    seen = (
        ""
        if gaps is None
        else f", spd {plain_number(gaps['spd'])}, eod {plain_number(gaps['eod'])}"
    )
    few = f"; too few rows: {len(crossed['too_small'])}" if crossed["too_small"] else ""
    header = ["group", "rows", *list(RATES.values())[:3]]
    return build_table(f"By {' & '.join(crossed['columns'])}{seen}{few}", header, rows)


def _subgroups(found: Document) -> Table:
    header = ["subgroup", "rows", "rate", "rest", "difference", "p"]
    rows = [
        [
            (
                f"{each['title']}:",
                *(f"{column}: {values}" for column, values in each["where"].items()),
            ),
            each["rows"],
            plain_number(each["rate"]),
            plain_number(each["rest"]),
            _stacked({**each, "value": each["difference"]}),
            f"{each['p_adjusted']:.2g}",
        ]
        for each in found["found"]
    ]
    title = f"Subgroups unlike the rest, on {found['tested']} rows that the search did not see"
    return build_table(title, header, rows)
