// Random numbers by counter: a draw is a function of its key and its number, not of the draws before it.
// Pure.
#pragma once

#include <array>
#include <cstdint>

namespace rtrain::core {

using PhiloxCounter = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;

/// Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC11).
[[nodiscard]] PhiloxCounter philox4x32(PhiloxCounter counter, PhiloxKey key);

/// What a draw is for. Two purposes never share a number.
enum class Purpose : std::uint32_t {
  kPoint = 1,
  kKernel,
  kCandidate,
  kPopulation,
  kPerturb,
  kDonor,
  kShift,
  kAssumed
};

/// The draws of one parameter of one trial: a sequence of its own for each (seed, trial, parameter, purpose,
/// round).
class Draws {
 public:
  /// `round`: below 2^24, where a trial draws for the same purpose again and again.
  Draws(std::uint64_t seed, std::int64_t trial, std::size_t parameter, Purpose purpose,
        std::uint32_t round = 0);
  /// In [0, 1), 53 bits.
  [[nodiscard]] double uniform();
  /// In (0, 1): neither end, for a quantile.
  [[nodiscard]] double inner();
  /// Standard normal.
  [[nodiscard]] double normal();
  /// In [0, n); n > 0.
  [[nodiscard]] std::size_t below(std::size_t n);

 private:
  PhiloxKey key_;
  PhiloxCounter counter_;
};

}  // namespace rtrain::core
