"""Predictions, and the sums and ranks that they are part of.

``ledger`` is the face of the folder.  ``commits`` changes records together with what they add to
the tables, ``contributions`` says what that is, ``tables`` how it is named; ``erasure`` takes out,
``rebuild`` counts anew, and ``generations`` tells everybody which tables are in use.
"""

from augury.services.tweets.ledger.commits import CHUNK_RECORDS
from augury.services.tweets.ledger.generations import LedgerStore
from augury.services.tweets.ledger.ledger import Ledger, ledger_over
from augury.services.tweets.ledger.rebuild import RebuildReport

__all__ = ["CHUNK_RECORDS", "Ledger", "LedgerStore", "RebuildReport", "ledger_over"]
