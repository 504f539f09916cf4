//! The contract suite every engine passes.
