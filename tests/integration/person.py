"""A person whom a run asks whether it may go above its budget."""


class Person:
    """Answer for the runs of one DAG.

    :param eventually: the fixture of that name.
    """

    def __init__(self, stack, eventually, dag_id):
        self._stack, self._eventually, self._dag_id = stack, eventually, dag_id

    def asked(self, run_id):
        """Wait for the question; return what Airflow shows of it."""
        self._eventually(lambda: self.states(run_id).get("approve") == "awaiting_input", seconds=120)
        # An answer that is quicker than the scheduler's note of the pause counts as a failure of the task (Airflow 3.3.2).
        key = f"dag_id='{self._dag_id}', task_id='approve', run_id='{run_id}', try_number=1, map_index=-1"
        noted = f"Received executor event with state success for task instance TaskInstanceKey({key})"
        self._eventually(lambda: noted in (self._stack.folder / "log" / "scheduler.log").read_text(), seconds=120)
        return self._stack.api.call("GET", self._details(run_id))

    def answer(self, run_id, choice):
        """Choose."""
        body = {"chosen_options": [choice], "params_input": {}}
        self._stack.api.call("PATCH", self._details(run_id), body=body)

    def states(self, run_id):
        """Return the state of each task of a run."""
        return {each.task_id: each.state for each in self._stack.api.tasks(self._dag_id, run_id)}

    def _details(self, run_id):
        return f"/dags/{self._dag_id}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
