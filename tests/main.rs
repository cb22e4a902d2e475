//! All tests that need servers, in one binary.
