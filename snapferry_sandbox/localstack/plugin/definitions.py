"""Definitions are parsed once, not for each execution: it takes longer than most executions do."""

from functools import lru_cache

from localstack.services.stepfunctions.asl.antlr.runtime.ASLParser import ASLParser
from localstack.services.stepfunctions.asl.component.eval_component import EvalComponent
from localstack.services.stepfunctions.asl.parse.asl_parser import AmazonStateLanguageParser
from localstack.services.stepfunctions.asl.parse.preprocessor import Preprocessor

_KEPT = 32


def patch() -> None:
    """Change LocalStack's parser."""
    parse = AmazonStateLanguageParser.parse

    @lru_cache(maxsize=_KEPT)
    def tree_of(definition: str) -> ASLParser.State_machineContext:
        return parse(definition)[1]

    def parse_once(definition: str) -> tuple[EvalComponent, ASLParser.State_machineContext]:
        tree = tree_of(definition)
        # The program is made anew: an execution may change its own.
        return Preprocessor().visit(tree), tree

    AmazonStateLanguageParser.parse = parse_once
