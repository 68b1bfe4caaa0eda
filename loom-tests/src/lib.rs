//! Models of seqcast's lock-free core. The models are tests; see `README.md`. This library is empty.
