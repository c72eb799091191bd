// Eigenvalues and eigenvectors of a small symmetric matrix. Pure.
#pragma once

#include <cstddef>
#include <vector>

namespace rtrain::core {

/// n x n, row by row.
class Matrix {
 public:
  explicit Matrix(std::size_t n = 0) : n_(n), values_(n * n) {}
  [[nodiscard]] static Matrix identity(std::size_t n);
  [[nodiscard]] std::size_t size() const { return n_; }
  [[nodiscard]] double& operator()(std::size_t i, std::size_t j) { return values_[i * n_ + j]; }
  [[nodiscard]] double operator()(std::size_t i, std::size_t j) const { return values_[i * n_ + j]; }
  friend bool operator==(const Matrix&, const Matrix&) = default;

 private:
  std::size_t n_;
  std::vector<double> values_;
};

struct Eigen {
  std::vector<double> values;
  Matrix vectors;  ///< column k belongs to values[k]; orthonormal
};

/// By cyclic Jacobi rotations (Golub and Van Loan, Matrix Computations, 8.5): as accurate as the matrix
/// allows, and quick for the some dozen rows that a search space has. `matrix` is taken for symmetric.
[[nodiscard]] Eigen eigen_of(Matrix matrix);

}  // namespace rtrain::core
