"""The layout of a hub: the names of its files and folders, relative to the state directory."""

from __future__ import annotations

HUB_FILE = "hub.json"
LOCK_FILE = "engine.lock"
INDEX_FILE = "index.sqlite"
ENGINE_INFO_FILE = "engine.json"
HANG_REPORT_FILE = "hang.json"
OLD_HANG_REPORT_FILE = "turning.json"
"""The name of this file in 0.1.0."""
RATE_FILE = "limits.jsonl"
KEYS_FILE = "keys.json"
QUARANTINE_FILE = "set-aside.json"
TRUNCATED_FILE = "cut.json"
TRUNCATED_SENDERS_FILE = "applied.json"
UNDELIVERED_FILE = "undelivered.jsonl"

JOURNAL_FOLDER = "journal"
CHECKPOINT_FILE = "checkpoint"
"""Located in the journal's folder."""
INSTANCES_FOLDER = "instances"
ENTITIES_FOLDER = "entities"
PAYLOADS_FOLDER = "payloads"
"""The records that are too long for a line of the journal. Created with the first of them."""
LOGS_FOLDER = "logs"
"""Created with the first line that a function prints or logs."""
QUARANTINED_MESSAGES_FOLDER = "kept"
DAMAGED_FOLDER = "damaged"
"""Files that a repair has removed, or the originals of those it has changed."""

INBOX_FOLDER = "inbox"
NEW_MESSAGES_FOLDER = "inbox/new"
TEMPORARY_MESSAGES_FOLDER = "inbox/tmp"
RESERVATIONS_FOLDER = "inbox/ids"
FAILED_MESSAGES_FOLDER = "inbox/failed"
UNREADABLE_MESSAGES_FOLDER = "inbox/bad"
INBOX_LOCK_FILE = "inbox/lock"
COUNTER_FILE = "inbox/counter"
POSTED_FILE = "inbox/posted"
"""Grows by a byte with every message, after the message is on disk and before it is acknowledged."""
OLD_PIPE_FILE = "inbox/bell"
"""The named pipe that 0.1.0 kept in the hub."""

FOLDERS = (
    JOURNAL_FOLDER,
    INSTANCES_FOLDER,
    INBOX_FOLDER,
    NEW_MESSAGES_FOLDER,
    TEMPORARY_MESSAGES_FOLDER,
    RESERVATIONS_FOLDER,
)
ADDED_FOLDERS = (ENTITIES_FOLDER,)
"""Hubs of an earlier version lack these until an engine opens them."""
AZURE_HUBS_FOLDER = ".state"
"""The folder that holds one hub for each Azure app. It is created on demand; any other parent folder must exist."""
