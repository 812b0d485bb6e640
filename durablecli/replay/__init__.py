"""Judgement: arrivals in, decisions out. No clock, no random source, no files, no threads.

The stream of decisions is a pure function of the stream of arrivals that count. The *ledger* folds a history without
user code (what is open, held, void, waited for); the *machine* runs the orchestrator function.
"""
