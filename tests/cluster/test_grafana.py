import json
import re

from jobs.telemetry import METRICS
from tests.conftest import REPOSITORY


def test_the_dashboard_draws_every_metric_that_a_run_tells_and_no_other():
    dashboard = json.loads((REPOSITORY / "cluster/grafana_dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    drawn = {name for expression in expressions for name in re.findall(r"ray_(fer_\w+)", expression)}
    assert drawn == set(METRICS)
    assert all('{run=~"$run"}' in expression for expression in expressions)
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"datasource", "run"}
    places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places)
