#include "proto/jobspec/jobspec.h"

#include <algorithm>
#include <cctype>

namespace rtrain::proto {
namespace {

/// Optimal string alignment: insert, delete, replace, swap of neighbours each cost 1. Case differences cost
/// nothing here; an exact match was ruled out by the caller.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  const auto same = [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y));
  };
  for (std::size_t i = 1; i <= a.size(); ++i)
    for (std::size_t j = 1; j <= b.size(); ++j) {
      d[i][j] = std::min(
          {d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (same(a[i - 1], b[j - 1]) ? 0u : 1u)});
      if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  return d[a.size()][b.size()];
}

/// "storage" -> storage_path, "maximum" -> max: the one candidate that begins the word or that the word
/// begins.
std::string only_extension(std::string_view word, const std::vector<std::string>& candidates) {
  constexpr std::size_t kPrefixMin = 3;
  std::string found;
  for (const auto& candidate : candidates) {
    const auto shorter = std::min(word.size(), candidate.size());
    if (shorter < kPrefixMin || word.substr(0, shorter) != candidate.substr(0, shorter)) continue;
    if (!found.empty()) return {};
    found = candidate;
  }
  return found;
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  if (word.size() > 64) return {};
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const auto& candidate : candidates) {
    const auto d = distance(word, candidate);
    // A word of two letters is within two edits of anything: at least half of it must stay.
    if (d < best_distance && d * 2 <= std::max(word.size(), candidate.size())) {
      best = candidate;
      best_distance = d;
    }
  }
  return best.empty() ? only_extension(word, candidates) : best;
}

}  // namespace rtrain::proto
