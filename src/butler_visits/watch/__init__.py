"""The night: files arrive, exposures are ingested, visits are defined.

Sources (`sources`, `folders`) tell the loop (`watcher`) what they find and `memory` does not know. The loop has `work`
done with that, keeps what fails (`aside`, `bad`), and waits for a database that is away (`trouble`). What shows it is
given its `tally`.
"""
