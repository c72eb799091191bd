#include "cli/rank_list.h"

#include <charconv>
#include <optional>
#include <set>
#include <string_view>

namespace rtrain::cli {
namespace {

constexpr int kRankMax = 1'000'000;
constexpr std::size_t kRanksMax = 1024;

std::optional<int> rank_of(std::string_view text) {
  int rank = 0;
  const auto* end = text.data() + text.size();
  const auto [stop, ec] = std::from_chars(text.data(), end, rank);
  if (ec != std::errc{} || stop != end || rank < 0 || rank > kRankMax) return std::nullopt;
  return rank;
}

}  // namespace

Result<std::vector<int>> parse_ranks(const std::string& text) {
  if (text == "all") return std::vector<int>{};
  std::set<int> ranks;
  std::string_view rest = text;
  for (bool more = true; more;) {
    const auto comma = rest.find(',');
    const auto part = rest.substr(0, comma);
    more = comma != rest.npos;
    if (more) rest.remove_prefix(comma + 1);
    const auto dash = part.find('-');
    const auto first = rank_of(part.substr(0, dash));
    const auto last = dash == part.npos ? first : rank_of(part.substr(dash + 1));
    if (!first || !last || *last < *first)
      return fail(Errc::kInvalidArgument, "\"" + text + "\" names no ranks: write 0, 0,2-4 or all");
    for (int rank = *first; rank <= *last && ranks.size() <= kRanksMax; ++rank) ranks.insert(rank);
    if (ranks.size() > kRanksMax)
      return fail(Errc::kInvalidArgument, "\"" + text + "\" names more than " + std::to_string(kRanksMax) +
                                              " ranks: name fewer, or all");
  }
  return std::vector<int>(ranks.begin(), ranks.end());
}

}  // namespace rtrain::cli
