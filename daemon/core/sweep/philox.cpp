#include "daemon/core/sweep/philox.h"

#include "daemon/core/sweep/normal.h"

#include <algorithm>

namespace rtrain::core {

PhiloxCounter philox4x32(PhiloxCounter counter, PhiloxKey key) {
  constexpr std::uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  constexpr int kRounds = 10;
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t a = kMultiplier0 * counter[0], b = kMultiplier1 * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

Draws::Draws(std::uint64_t seed, std::int64_t trial, std::size_t parameter, Purpose purpose,
             std::uint32_t round)
    : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
      counter_{0, static_cast<std::uint32_t>(parameter), static_cast<std::uint32_t>(trial),
               static_cast<std::uint32_t>(purpose) | round << 8} {}

namespace {
std::uint64_t bits53(const PhiloxCounter& drawn) {
  return ((std::uint64_t{drawn[0]} << 32) | drawn[1]) >> 11;
}
}  // namespace

double Draws::uniform() {
  const auto drawn = philox4x32(counter_, key_);
  ++counter_[0];
  return static_cast<double>(bits53(drawn)) * 0x1p-53;
}

double Draws::inner() {
  const auto drawn = philox4x32(counter_, key_);
  ++counter_[0];
  // 52 bits and a half: 53 bits and a half would round up to 1.
  return (static_cast<double>(bits53(drawn) >> 1) + 0.5) * 0x1p-52;
}

double Draws::normal() { return normal_quantile(inner()); }

std::size_t Draws::below(std::size_t n) {
  return std::min(static_cast<std::size_t>(uniform() * static_cast<double>(n)), n - 1);
}

}  // namespace rtrain::core
