//! Models of seqcast's lock-free core. See `README.md`; the models are under `tests`.
