#include "daemon/core/sweep/asha.h"

#include "proto/json.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace rtrain::core {
namespace {

constexpr double kRoundingOfRung = 1e-9;

std::string count_text(std::size_t n) { return std::to_string(n) + (n == 1 ? " goes on" : " go on"); }

}  // namespace

std::vector<double> rungs_between(double min, double max, double eta) {
  std::vector<double> rungs;
  for (double at = min; at < max * (1 - kRoundingOfRung); at *= eta) rungs.push_back(at);
  rungs.push_back(max);
  return rungs;
}

std::size_t Asha::go_on(int rung) const {
  return static_cast<std::size_t>(std::floor(static_cast<double>(count(rung)) / eta_ + kRoundingOfRung));
}

std::string Asha::rung_text(int rung) const {
  return "rung " + std::to_string(rung) + " (" + proto::number_text(rungs_[static_cast<std::size_t>(rung)]) +
         ")";
}

void Asha::enter(std::int64_t trial, int rung, double loss) {
  auto& entries = entries_[static_cast<std::size_t>(rung)];
  const auto before = [](const Entry& a, const Entry& b) {
    return std::tie(a.loss, a.trial) < std::tie(b.loss, b.trial);
  };
  const bool last = rung + 1 == static_cast<int>(rungs_.size());
  const Entry entry{loss, trial, mode_ == proto::AshaMode::kStop || last ? Place::kEnded : Place::kWaits};
  entries.insert(std::ranges::upper_bound(entries, entry, before), entry);
}

TrialDecision Asha::decide(std::int64_t trial, int rung) const {
  if (rung + 1 == static_cast<int>(rungs_.size()))
    return {TrialVerdict::kFinish, "it came to the last " + rung_text(rung)};
  const auto& entries = entries_[static_cast<std::size_t>(rung)];
  const auto own = std::ranges::find(entries, trial, &Entry::trial);
  const auto better = std::ranges::lower_bound(entries, own->loss, {}, &Entry::loss) - entries.begin();
  const auto rank = "rank " + std::to_string(better + 1) + " of " + std::to_string(entries.size()) + " at " +
                    rung_text(rung) + ", ";
  if (mode_ == proto::AshaMode::kPromote) return {TrialVerdict::kPause, rank + count_text(go_on(rung))};
  const auto among = std::max<std::size_t>(go_on(rung), 1);
  if (!std::isfinite(own->loss))
    return {TrialVerdict::kPrune, "its value at " + rung_text(rung) + " is no number"};
  return {static_cast<std::size_t>(better) < among ? TrialVerdict::kGoOn : TrialVerdict::kPrune,
          rank + count_text(among)};
}

std::optional<Promotion> Asha::promotable() const {
  for (int rung = static_cast<int>(rungs_.size()) - 2; rung >= 0; --rung) {
    const auto& entries = entries_[static_cast<std::size_t>(rung)];
    const auto among = go_on(rung);
    for (std::size_t i = 0; i < among && std::isfinite(entries[i].loss); ++i)
      if (entries[i].place == Place::kWaits)
        return Promotion{entries[i].trial, rung,
                         "rank " + std::to_string(i + 1) + " of " + std::to_string(entries.size()) + " at " +
                             rung_text(rung) + ", " + count_text(among)};
  }
  return std::nullopt;
}

void Asha::promote(std::int64_t trial, int rung) {
  auto& entries = entries_[static_cast<std::size_t>(rung)];
  if (const auto own = std::ranges::find(entries, trial, &Entry::trial); own != entries.end())
    own->place = Place::kPromoted;
}

void Asha::end(std::int64_t trial) {
  for (auto& entries : entries_)
    for (auto& entry : entries)
      if (entry.trial == trial && entry.place == Place::kWaits) entry.place = Place::kEnded;
}

void Asha::withdraw(std::int64_t trial) {
  for (auto& entries : entries_)
    std::erase_if(entries, [&](const Entry& entry) { return entry.trial == trial; });
}

std::optional<Promotion> Asha::best_waiting() const {
  for (int rung = static_cast<int>(rungs_.size()) - 2; rung >= 0; --rung)
    for (const auto& entry : entries_[static_cast<std::size_t>(rung)])
      if (entry.place == Place::kWaits && std::isfinite(entry.loss))
        return Promotion{entry.trial, rung,
                         "the best at " + rung_text(rung) + ", and nothing else is left to run"};
  return std::nullopt;
}

}  // namespace rtrain::core
