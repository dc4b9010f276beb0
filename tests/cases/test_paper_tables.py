"""Tables for papers: what is best, what is significant, and what LaTeX and Markdown make of any label."""

import shutil
import subprocess

import pytest
from written_runs import write_run

from interlude import BadInputError
from interlude.analysis.table.cells import results_table
from interlude.analysis.table.latex import escaped, latex
from interlude.analysis.table.plain import csv, markdown

FINALS = {"fedavg": (0.50, 0.52, 0.54), "mba": (0.61, 0.62, 0.64), "slow": (0.4, 0.6, 0.5)}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Three methods, three seeds; only mba differs from fedavg by more than its seeds do."""
    runs = tmp_path_factory.mktemp("runs")
    return [
        write_run(runs, label, seed, final) for label, finals in FINALS.items() for seed, final in enumerate(finals)
    ]


def test_the_best_mean_is_bold_and_marks_are_those_of_paired_tests_after_holm(records):
    """Differences of mba: 0.11, 0.10, 0.10, so t = 31 and p = 0.00104; of slow: p = 0.76. By Holm: 0.0021 and 0.76."""
    table = results_table(records, ["final_accuracy"])
    cells = {row.label: row.cells[0] for row in table.blocks[0].rows}
    assert [label for label, cell in cells.items() if cell.is_best] == ["mba"]
    assert cells["mba"].adjusted_p == pytest.approx(0.00208, rel=0.01)
    assert cells["slow"].adjusted_p == pytest.approx(0.76, abs=0.03)
    assert [cell.num_marks for cell in cells.values()] == [0, 2, 0]
    assert "adjusted by Holm for 2 tests" in table.note


def test_fewer_bytes_are_better_and_equal_ones_are_all_bold(records):
    (block,) = results_table(records, ["bytes_up", "versions"]).blocks
    assert [[cell.is_best for cell in row.cells] for row in block.rows] == [[True, False]] * 3


def test_rows_are_the_methods_asked_for_in_their_order_and_the_reference_need_not_be_among_them(records):
    table = results_table(records, methods=["slow", "mba"], baseline="fedavg")
    assert [row.label for row in table.blocks[0].rows] == ["slow", "mba"]
    assert "differs from fedavg" in table.note


def test_points_of_a_sweep_are_blocks(tmp_path):
    records = [
        write_run(tmp_path, label, point=f"p-{count}", changes={"clients": {"count": count}})
        for count in (2, 4)
        for label in ("fedavg", "mba")
    ]
    table = results_table(records)
    assert [(block.title, len(block.rows)) for block in table.blocks] == [("2", 2), ("4", 2)]
    assert latex(table, "c").count(r"\multicolumn{4}{l}") == 2
    assert markdown(table, "c").splitlines()[0].startswith("| block | method |")


@pytest.mark.parametrize(
    ("label", "written"),
    [
        (r"MBA ($\beta_1=1$)", r"MBA ($\beta_1=1$)"),
        ("R&D_100% #1", r"R\&D\_100\% \#1"),
        (r"a\b{c}~^", r"a\textbackslash{}b\{c\}\textasciitilde{}\textasciicircum{}"),
        (r"5 \$ or $x$ & more", r"5 \$ or $x$ \& more"),
    ],
)
def test_labels_are_escaped_but_for_their_mathematics(label, written):
    assert escaped(label) == written


def test_mathematics_that_does_not_end_is_refused():
    with pytest.raises(BadInputError, match="mathematics is"):
        escaped("costs 5$")


def test_markdown_and_csv_say_the_same(records):
    table = results_table(records, ["final_accuracy"], labels={"mba": "a|b_c", "final_accuracy": "acc."})
    assert markdown(table, "c").splitlines()[:4] == [
        "| method | acc. |",
        "| --- | ---: |",
        "| fedavg | 0.520 ± 0.050 |",
        r"| a\|b\_c | **0.623** ± 0.038\*\* |",
    ]
    header, fedavg, _, _ = csv(table).splitlines()
    assert header == "method,seeds,column,mean,ci95,text,is_best,p_holm"
    assert fedavg.startswith("fedavg,3,final_accuracy,0.52")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no LaTeX")
def test_latex_typesets_it(records, tmp_path):
    labels = {"mba": r"MBA ($\beta=1$)", "slow": r"\ & % # _ { } ~ ^ < > \$", "final_accuracy": "Acc. (%)"}
    (tmp_path / "table.tex").write_text(latex(results_table(records, labels=labels), "a command"))
    document = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{table}\end{document}"
    if not (subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, check=False).stdout):
        document = document.replace(r"\usepackage{booktabs}", r"\def\toprule{\hline}\let\midrule\toprule")
        document = document.replace(r"\begin{document}", r"\let\bottomrule\toprule\begin{document}")
    (tmp_path / "page.tex").write_text(document)
    made = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout[-2000:]
