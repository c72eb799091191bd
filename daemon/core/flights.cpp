#include "daemon/core/flights.h"

#include "daemon/core/rank_words.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string_view>
#include <utility>

namespace rtrain::core {
namespace {

using proto::Flight;
using proto::FlightGroup;
using proto::RankSnapshot;
using Presence = RankView::Presence;

/// A wait that is shorter says nothing: ranks that work wait for each other all the time.
constexpr double kLongS = 1;
constexpr std::string_view kError = "an error in ", kOutsideText = "outside of any collective";

bool is_over(const Flight& flight) {
  return flight.state == "finished" || flight.state == "queued" || flight.state == "failed";
}

const FlightGroup* group_at(const RankSnapshot& snapshot, const std::string& path) {
  const auto found =
      std::ranges::find_if(snapshot.groups, [&](const FlightGroup& group) { return group.path == path; });
  return found == snapshot.groups.end() ? nullptr : &*found;
}

/// The number of a collective: path of its group, and Flight::seq.
using Place = std::pair<std::string_view, std::int64_t>;

/// The collectives of a snapshot. @lifetime the snapshot must outlive it.
struct FlightIndex {
  std::map<Place, const Flight*> flights;
  std::map<std::string_view, const FlightGroup*> groups;

  explicit FlightIndex(const RankSnapshot* snapshot) {
    if (snapshot == nullptr) return;
    for (const auto& group : snapshot->groups) groups.try_emplace(group.path, &group);
    for (const auto& flight : snapshot->flights)
      if (!flight.peer) flights.try_emplace(Place{flight.group, flight.seq}, &flight);
  }
  [[nodiscard]] const FlightGroup* group(std::string_view path) const {
    const auto found = groups.find(path);
    return found == groups.end() ? nullptr : found->second;
  }
  [[nodiscard]] const Flight* flight(const Place& place) const {
    const auto found = flights.find(place);
    return found == flights.end() ? nullptr : found->second;
  }
};

/// What the rank is in: what its host waits for, else what failed last, else the oldest that is under way.
/// A message that was started is no wait: its end is only noted when somebody waits for it.
const Flight* current(const RankSnapshot& snapshot) {
  const Flight *waiting = nullptr, *failed = nullptr, *started = nullptr;
  for (const auto& flight : snapshot.flights) {
    if (flight.state == "waiting" && waiting == nullptr) waiting = &flight;
    if (flight.state == "failed") failed = &flight;
    if (flight.state == "started" && !flight.peer && started == nullptr) started = &flight;
  }
  if (waiting != nullptr) return waiting;
  return failed != nullptr ? failed : started;
}

/// What the ranks of a collective must agree on.
std::string signature_of(const Flight& flight) {
  std::string text = flight.operation;
  if (!flight.detail.empty()) text += "(" + flight.detail + ")";
  if (!flight.dtype.empty()) {
    text += " of " + flight.dtype + " [";
    for (std::size_t i = 0; i < flight.shape.size(); ++i)
      text += (i > 0 ? ", " : "") + std::to_string(flight.shape[i]);
    text += "]";
  }
  if (!flight.unit.empty()) text += " for " + flight.unit;
  return text;
}

/// Whether their signatures are the same.
bool same_call(const Flight& one, const Flight& other) {
  return one.operation == other.operation && one.detail == other.detail && one.dtype == other.dtype &&
         one.unit == other.unit && (one.dtype.empty() || one.shape == other.shape);
}

std::string for_seconds(double seconds) { return std::to_string(std::lround(seconds)) + " s"; }

std::string words_of(const Flight& flight, const RankSnapshot& snapshot) {
  return flight_words(flight, flight.group == "0" ? nullptr : group_at(snapshot, flight.group));
}

class Comparison {
 public:
  explicit Comparison(const std::vector<RankView>& views) : views_(views) {
    indexes_.reserve(views.size());
    for (std::size_t i = 0; i < views.size(); ++i) {
      by_rank_[views[i].rank] = i;
      indexes_.emplace_back(views[i].snapshot);
    }
  }

  FlightReport report() {
    FlightReport report;
    for (const auto& view : views_) report.ranks.push_back(wait_of(view));
    if (!differing_.empty()) {
      tell_difference(report);
    } else if (!tell_absence(report)) {
      tell_places(report);
    }
    return report;
  }

 private:
  struct Difference {
    std::string where;                                ///< "all_reduce #3"
    std::map<std::string, std::vector<int>> by_call;  ///< ranks by signature
  };

  [[nodiscard]] const RankView* view_of(int rank) const {
    const auto found = by_rank_.find(rank);
    return found == by_rank_.end() ? nullptr : &views_[found->second];
  }

  RankWait wait_of(const RankView& view) {
    RankWait wait;
    if (view.snapshot == nullptr) return wait;
    const auto* flight = current(*view.snapshot);
    if (flight == nullptr)
      if (auto on_device = device_wait_of(view)) return *on_device;
    if (flight == nullptr || is_over(*flight)) {
      if (flight != nullptr) {
        wait.where = std::string(kError) + words_of(*flight, *view.snapshot);
        wait.where_s = std::max(0.0, flight->age_s - flight->took_s);
        note_waits(view, *flight, wait);
      } else if (!view.snapshot->place.empty()) {
        wait.where = view.snapshot->place;
        wait.where_s = view.snapshot->place_s;
      } else {
        wait.where = kOutsideText;
        wait.where_s = view.snapshot->idle_s;
      }
      return wait;
    }
    wait.where = words_of(*flight, *view.snapshot);
    wait.where_s = flight->age_s;
    note_waits(view, *flight, wait);
    return wait;
  }

  /// The host went on: the device waits in the first collective that another rank has not started, or started
  /// with another call.
  std::optional<RankWait> device_wait_of(const RankView& view) {
    for (const auto& flight : view.snapshot->flights) {
      if (flight.state != "queued" || flight.peer) continue;
      RankWait wait;
      note_waits(view, flight, wait);
      if (wait.waits_for.empty()) continue;
      wait.where = words_of(flight, *view.snapshot) + " (on its device)";
      wait.where_s = flight.age_s;
      return wait;
    }
    return std::nullopt;
  }

  void note_waits(const RankView& view, const Flight& flight, RankWait& wait) {
    if (flight.peer) {  // as the rank says: it may be any number
      const auto* peer = view_of(*flight.peer);
      if (peer != nullptr && peer != &view && peer->presence != Presence::kUnknown)
        wait.waits_for = {*flight.peer};
      return;
    }
    const auto* group = index_of(view).group(flight.group);
    if (group == nullptr) return;
    const Place place{flight.group, flight.seq};
    if (const auto met = met_.find(place); met != met_.end() && same_call(*met->second, flight)) return;
    const std::string* signature = nullptr;
    for (const int other : group->ranks) {
      if (other == view.rank) continue;
      const auto* peer = view_of(other);
      if (peer == nullptr || peer->presence == Presence::kUnknown) continue;
      if (peer->snapshot == nullptr) {
        wait.waits_for.push_back(other);
        continue;
      }
      const auto* theirs = index_of(*peer).group(flight.group);
      if (theirs == nullptr || theirs->started < flight.seq) {
        wait.waits_for.push_back(other);
        continue;
      }
      const auto* same = index_of(*peer).flight(place);
      if (same == nullptr || same_call(*same, flight)) continue;
      wait.waits_for.push_back(other);
      auto& difference = differing_[{flight.group, flight.seq}];
      difference.where = "collective #" + std::to_string(flight.seq) +
                         (flight.group == "0" ? " of the job" : " of the group " + group->name);
      if (signature == nullptr) signature = &signature_at(flight);
      add(difference.by_call[*signature], view.rank);
      add(difference.by_call[signature_at(*same)], other);
    }
    if (wait.waits_for.empty()) met_.try_emplace(place, &flight);
  }

  [[nodiscard]] const FlightIndex& index_of(const RankView& view) const {
    return indexes_[static_cast<std::size_t>(&view - views_.data())];
  }

  const std::string& signature_at(const Flight& flight) {
    auto& signature = signatures_[&flight];
    if (signature.empty()) signature = signature_of(flight);
    return signature;
  }

  static void add(std::vector<int>& ranks, int rank) {
    const auto at = std::ranges::lower_bound(ranks, rank);
    if (at == ranks.end() || *at != rank) ranks.insert(at, rank);
  }

  /// The first collective in which calls differ: what comes after it differs because of it.
  void tell_difference(FlightReport& report) const {
    const auto& difference = differing_.begin()->second;
    report.found = true;
    report.verdict = "the ranks do not make the same call in " + difference.where + ": ";
    std::vector<std::pair<std::vector<int>, std::string>> calls;  // in the order of the ranks
    for (const auto& [call, ranks] : difference.by_call) calls.emplace_back(ranks, call);
    std::ranges::sort(calls);
    std::size_t alone = 0;
    for (const auto& [ranks, call] : calls) {
      report.verdict += (&ranks != &calls.front().first ? "; " : "") + rank_words(ranks) +
                        (ranks.size() == 1 ? " calls " : " call ") + call;
      if (ranks.size() == 1) ++alone;
    }
    if (difference.by_call.size() == 2 && alone == 1)
      for (const auto& [call, ranks] : difference.by_call)
        if (ranks.size() == 1) report.culprit = ranks.front();
  }

  /// Ranks that others wait for and that wait for nobody.
  bool tell_absence(FlightReport& report) const {
    std::map<int, std::vector<std::size_t>> held_up;  // who holds up whom, by index
    double longest_s = 0;
    for (std::size_t i = 0; i < report.ranks.size(); ++i) {
      for (const int other : report.ranks[i].waits_for) {
        held_up[other].push_back(i);
        const auto* view = view_of(other);
        const bool is_gone = view == nullptr || view->presence != Presence::kAnswered ||
                             views_[i].presence != Presence::kAnswered ||
                             report.ranks[i].where.starts_with(kError);
        longest_s = std::max(longest_s, is_gone ? kLongS : report.ranks[i].where_s);
      }
    }
    if (held_up.empty()) return false;
    if (longest_s < kLongS) {
      report.verdict =
          "no rank waits for another one for longer than " + for_seconds(kLongS) + ": the ranks go on";
      return true;
    }
    report.found = true;
    std::vector<int> holders;
    for (const auto& [rank, waiting] : held_up) {
      const auto place = by_rank_.find(rank);
      if (place == by_rank_.end() || report.ranks[place->second].waits_for.empty()) holders.push_back(rank);
    }
    if (holders.empty()) {
      report.verdict = "the ranks wait for each other in different collectives";
      for (std::size_t i = 0; i < report.ranks.size(); ++i)
        if (!report.ranks[i].waits_for.empty())
          report.verdict += (report.verdict.find(':') == std::string::npos ? ": rank " : "; rank ") +
                            std::to_string(views_[i].rank) + " waits for " +
                            rank_words(report.ranks[i].waits_for) + " in " + report.ranks[i].where;
      return true;
    }
    // Who holds up most is told first, and those that stand alike together.
    std::ranges::stable_sort(holders,
                             [&](int a, int b) { return held_up.at(a).size() > held_up.at(b).size(); });
    std::map<std::string, std::vector<int>> by_words;
    std::vector<std::string> order;
    for (const int rank : holders) {
      const auto words = holder_words(report, rank, held_up.at(rank));
      if (!by_words.contains(words)) order.push_back(words);
      add(by_words[words], rank);
    }
    for (const auto& words : order)
      report.verdict += (report.verdict.empty() ? "" : "; ") + rank_words(by_words.at(words)) + words;
    if (holders.size() == 1) report.culprit = holders.front();
    return true;
  }

  /// " has not come to all_reduce #3 of Float [8], where ranks 0 and 2 wait for 30 s; it is ..."
  [[nodiscard]] std::string holder_words(const FlightReport& report, int rank,
                                         const std::vector<std::size_t>& waiting) const {
    // The first of those that it holds up: the oldest place.
    const auto first =
        *std::ranges::max_element(waiting, {}, [&](std::size_t i) { return report.ranks[i].where_s; });
    std::vector<int> there;
    for (const auto i : waiting)
      if (report.ranks[i].where == report.ranks[first].where) add(there, views_[i].rank);
    const auto* view = view_of(rank);
    const bool failed = report.ranks[first].where.starts_with(kError);
    const auto theirs = rank_words(there) + (failed ? " met " : there.size() == 1 ? " waits" : " wait");
    std::string words;
    if (view != nullptr && view->presence == Presence::kAnswered) {
      words = " has not come to " + report.ranks[first].where + ", where " + rank_words(there) +
              (there.size() == 1 ? " waits for " : " wait for ") + for_seconds(report.ranks[first].where_s);
    } else {
      words = view != nullptr && view->presence == Presence::kEnded ? " has ended: " : " does not answer: ";
      words += theirs + (failed ? "" : " for it in ") + report.ranks[first].where;
    }
    if (view == nullptr || view->snapshot == nullptr) return words;
    const auto& own = report.ranks[by_rank_.at(rank)];
    if (own.where.starts_with(kError)) return words + "; it met " + own.where;
    words += own.where == kOutsideText ? ": it is outside of any collective" : ": it waits for " + own.where;
    if (const auto last = last_of(*view->snapshot); !last.empty()) words += ", its last was " + last;
    return words;
  }

  [[nodiscard]] static std::string last_of(const RankSnapshot& snapshot) {
    for (auto flight = snapshot.flights.rbegin(); flight != snapshot.flights.rend(); ++flight)
      if (is_over(*flight)) return words_of(*flight, snapshot);
    return {};
  }

  /// Nobody waits for another rank: where they are instead.
  void tell_places(FlightReport& report) const {
    std::map<std::string, std::vector<int>> places;
    std::map<std::string, double> longest;
    for (std::size_t i = 0; i < views_.size(); ++i) {
      auto where = report.ranks[i].where;
      if (views_[i].presence == Presence::kSilent) where = "silent";
      if (views_[i].presence == Presence::kEnded) where = "ended";
      if (views_[i].presence == Presence::kUnknown) where = "unknown";
      if (where.empty()) continue;
      places[where].push_back(views_[i].rank);
      longest[where] = std::max(longest[where], report.ranks[i].where_s);
    }
    report.verdict = "no rank waits in a collective for another one";
    std::vector<int> silent;
    for (const auto& [where, ranks] : places) {
      const bool one = ranks.size() == 1;
      std::string words = rank_words(ranks);
      if (where == "silent") {
        words += one ? " does not answer" : " do not answer";
        silent = ranks;
      } else if (where == "ended")
        words += one ? " has ended" : " have ended";
      else if (where == "unknown")
        words += " cannot be asked";
      else if (where == kOutsideText)
        words += std::string(one ? " is " : " are ") + where + ", without a step for " +
                 for_seconds(longest[where]);
      else
        words +=
            std::string(one ? " waits" : " wait") + " for " + where + " for " + for_seconds(longest[where]);
      report.verdict += (report.verdict.find(':') == std::string::npos ? ": " : "; ") + words;
    }
    if (silent.size() == 1) {
      report.culprit = silent.front();
      report.found = true;
    }
  }

  const std::vector<RankView>& views_;
  std::map<int, std::size_t> by_rank_;
  std::vector<FlightIndex> indexes_;  ///< of the views
  /// Collectives that every rank of their group has started, with this call: on a device hundreds of them are
  /// under way on each rank, and each is compared with the other ranks once.
  std::map<Place, const Flight*> met_;
  std::map<const Flight*, std::string> signatures_;  ///< of calls that differ
  std::map<std::pair<std::string, std::int64_t>, Difference> differing_;
};

}  // namespace

std::string flight_words(const Flight& flight, const FlightGroup* group) {
  std::string text = flight.operation;
  if (!flight.detail.empty()) text += "(" + flight.detail + ")";
  text += " #" + std::to_string(flight.seq);
  if (flight.peer)
    text += (flight.operation == "send" ? " to rank " : " from rank ") + std::to_string(*flight.peer);
  if (!flight.dtype.empty()) {
    text += " of " + flight.dtype + " [";
    for (std::size_t i = 0; i < flight.shape.size(); ++i)
      text += (i > 0 ? ", " : "") + std::to_string(flight.shape[i]);
    text += "]";
  }
  if (!flight.purpose.empty()) text += ", " + flight.purpose;
  if (!flight.unit.empty()) text += ", unit " + flight.unit;
  if (group != nullptr) text += ", in the group " + group->name;
  return text;
}

FlightReport compare_flights(const std::vector<RankView>& views) { return Comparison(views).report(); }

}  // namespace rtrain::core
