"""``conj(X).T @ X`` and covariances: by lags, or in blocks of rows."""
