#include "proto/message/flight.h"

#include "common/base/clip.h"

#include <algorithm>
#include <cmath>

namespace rtrain::proto {
namespace {

constexpr double kSnapshotSecondsMax = 1e9;

/// A control character takes six bytes in JSON: without them a text takes at most twice its length.
void bound_text(std::string& text) {
  text = clipped(text, SnapshotBounds::kTextBytes);
  std::ranges::replace_if(
      text, [](char letter) { return static_cast<unsigned char>(letter) < 0x20 || letter == 0x7F; }, ' ');
}

void bound_seconds(double& seconds) {
  seconds = std::isfinite(seconds) ? std::clamp(seconds, 0.0, kSnapshotSecondsMax) : 0.0;
}

template <class T>
void keep_first(std::vector<T>& list, std::size_t most) {
  if (list.size() > most) list.erase(list.begin() + static_cast<std::ptrdiff_t>(most), list.end());
}

}  // namespace

void bound(RankSnapshot& snapshot) {
  using Bounds = SnapshotBounds;
  for (auto* text : {&snapshot.stage, &snapshot.place, &snapshot.stack_error}) bound_text(*text);
  for (auto* seconds : {&snapshot.idle_s, &snapshot.place_s}) bound_seconds(*seconds);
  keep_first(snapshot.groups, Bounds::kGroups);
  std::size_t left = Bounds::kRanks;
  for (auto& group : snapshot.groups) {
    bound_text(group.path);
    bound_text(group.name);
    keep_first(group.ranks, left);
    left -= group.ranks.size();
    std::ranges::sort(group.ranks);
    group.ranks.erase(std::ranges::unique(group.ranks).begin(), group.ranks.end());
  }
  auto& flights = snapshot.flights;
  if (flights.size() > Bounds::kFlights)
    flights.erase(flights.begin(), flights.end() - static_cast<std::ptrdiff_t>(Bounds::kFlights));
  for (auto& flight : flights) {
    for (auto* text : {&flight.group, &flight.operation, &flight.purpose, &flight.unit, &flight.dtype,
                       &flight.detail, &flight.state})
      bound_text(*text);
    keep_first(flight.shape, Bounds::kDimensions);
    bound_seconds(flight.age_s);
    bound_seconds(flight.took_s);
  }
  keep_first(snapshot.stack, Bounds::kFrames);
  for (auto& frame : snapshot.stack) bound_text(frame);
}

}  // namespace rtrain::proto
