#include "daemon/core/sweep/symmetric.h"

#include <cmath>
#include <limits>

namespace rtrain::core {
namespace {

/// The rotation of rows and columns p and q that makes element (p, q) zero.
void rotate(Matrix& a, Matrix& v, std::size_t p, std::size_t q) {
  const double theta = (a(q, q) - a(p, p)) / (2 * a(p, q));
  const double t = (theta >= 0 ? 1 : -1) / (std::abs(theta) + std::hypot(1.0, theta));
  const double c = 1 / std::hypot(1.0, t), s = t * c;
  const double off = a(p, q);
  a(p, p) -= t * off;
  a(q, q) += t * off;
  a(p, q) = a(q, p) = 0;
  for (std::size_t k = 0; k < a.size(); ++k) {
    if (k != p && k != q) {
      const double x = a(k, p), y = a(k, q);
      a(k, p) = a(p, k) = c * x - s * y;
      a(k, q) = a(q, k) = s * x + c * y;
    }
    const double x = v(k, p), y = v(k, q);
    v(k, p) = c * x - s * y;
    v(k, q) = s * x + c * y;
  }
}

}  // namespace

Matrix Matrix::identity(std::size_t n) {
  Matrix one(n);
  for (std::size_t i = 0; i < n; ++i) one(i, i) = 1;
  return one;
}

Eigen eigen_of(Matrix a) {
  const std::size_t n = a.size();
  Matrix vectors = Matrix::identity(n);
  constexpr int kSweepsMax = 60;  // it converges quadratically: some six are enough
  for (int sweep = 0; sweep < kSweepsMax; ++sweep) {
    bool diagonal = true;
    for (std::size_t p = 0; p + 1 < n; ++p)
      for (std::size_t q = p + 1; q < n; ++q) {
        // an element that changes neither diagonal element is zero
        const double scale = std::sqrt(std::abs(a(p, p) * a(q, q)));
        if (std::abs(a(p, q)) <= std::numeric_limits<double>::epsilon() * 0.01 * scale || a(p, q) == 0)
          continue;
        diagonal = false;
        rotate(a, vectors, p, q);
      }
    if (diagonal) break;
  }
  Eigen eigen{{}, std::move(vectors)};
  for (std::size_t i = 0; i < n; ++i) eigen.values.push_back(a(i, i));
  return eigen;
}

}  // namespace rtrain::core
