"""The pure core: arrivals in, decisions out. No clock, no random source, no files, no threads.

The decisions are a pure function of the arrivals. The *runtime state* folds a history without user code: what is open,
held and waited for. The *executor* runs the orchestrator function.
"""
