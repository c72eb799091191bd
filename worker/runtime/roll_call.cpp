#include "worker/runtime/roll_call.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace rtrain::runtime {
namespace {

constexpr std::array kLetters{'w', 'o', 'r'};  // by Whereabouts::Kind

std::string at_key(int rank) { return "at/" + std::to_string(rank); }
std::string meet_key(std::int64_t seq, int rank) {
  return "meet/" + std::to_string(seq) + "/" + std::to_string(rank);
}

/// "<kind><seq> <place>"
std::string written(const Whereabouts& here) {
  return kLetters[static_cast<std::size_t>(here.kind)] + std::to_string(here.seq) + " " + here.place;
}

std::optional<Whereabouts> parsed(const std::string& text) {
  const auto kind = text.empty() ? kLetters.end() : std::find(kLetters.begin(), kLetters.end(), text.front());
  const auto space = text.find(' ');
  if (kind == kLetters.end() || space == std::string::npos) return std::nullopt;
  Whereabouts here;
  here.kind = static_cast<Whereabouts::Kind>(kind - kLetters.begin());
  std::from_chars(text.data() + 1, text.data() + space, here.seq);
  here.place = text.substr(space + 1);
  return here;
}

std::string rank_name(int rank) { return "rank " + std::to_string(rank); }

void add(std::string& list, const std::string& item) { list += (list.empty() ? "" : ", ") + item; }

}  // namespace

void RollCall::say(const Whereabouts& here) { store_.set(at_key(rank_), written(here)); }

std::optional<Whereabouts> RollCall::where(int rank) {
  const auto text = store_.get(at_key(rank));
  return text ? parsed(*text) : std::nullopt;
}

std::string RollCall::absent(std::int64_t seq, const std::string& place) {
  std::string found;
  for (int rank = 0; rank < world_size_; ++rank) {
    if (rank == rank_) continue;
    const auto other = where(rank);
    if (!other) continue;
    // A rank that has left this collective may have done so because its own part was done: only another name
    // proves anything.
    if (other->kind == Whereabouts::Kind::kReturned && other->seq < seq) {
      add(found, rank_name(rank) + " has returned from its training function");
    } else if (other->kind == Whereabouts::Kind::kWaits && other->seq == seq && other->place != place) {
      const auto meeting = other->place == kMeeting ? store_.get(meet_key(seq, rank)) : std::nullopt;
      add(found, rank_name(rank) + " is in " + meeting.value_or(other->place));
    }
  }
  return found;
}

std::string RollCall::late(std::int64_t seq) {
  std::string found;
  for (int rank = 0; rank < world_size_; ++rank) {
    const auto other = rank == rank_ ? std::nullopt : where(rank);
    if (!other || other->seq >= seq) continue;
    if (other->kind == Whereabouts::Kind::kWaits)
      add(found, rank_name(rank) + " still waits in " + other->place);
    else
      add(found, rank_name(rank) + " is outside of any collective" +
                     (other->place.empty() ? "" : ", its last was " + other->place));
  }
  return found;
}

bool RollCall::is_missed(std::int64_t seq) {
  for (int rank = 0; rank < world_size_; ++rank) {
    const auto other = rank == rank_ ? std::nullopt : where(rank);
    // On a GPU the host does not wait in a collective: it stands outside of it, at the next copy from the
    // device.
    if (other && other->kind != Whereabouts::Kind::kReturned && other->seq > seq) return true;
  }
  return false;
}

std::string RollCall::meet(std::int64_t seq, const std::string& place,
                           const std::function<bool()>& wait_more) {
  store_.set(meet_key(seq, rank_), place);
  // Nobody leaves a meeting before all have come to it: once the second-last was left, all have read the keys
  // of the one before.
  if (own_meetings_.empty() || own_meetings_.back() != seq) own_meetings_.push_back(seq);
  if (own_meetings_.size() > 2) {
    store_.remove(meet_key(own_meetings_.front(), rank_));
    own_meetings_.erase(own_meetings_.begin());
  }
  std::string elsewhere;
  for (int rank = 0; rank < world_size_; ++rank) {
    if (rank == rank_) continue;
    for (;;) {
      const auto other =
          where(rank);  // before its vote is read: a rank that is further has voted, or passed this by
      if (const auto vote = store_.get(meet_key(seq, rank))) {
        if (*vote != place) add(elsewhere, rank_name(rank) + " is in " + *vote);
        break;
      }
      const bool passed =
          other && (other->seq > seq || (other->seq == seq && other->kind != Whereabouts::Kind::kReturned));
      if (passed && !(other->seq == seq && other->place == kMeeting)) {
        add(elsewhere, rank_name(rank) + " is in " + other->place);
        break;
      }
      if (other && other->kind == Whereabouts::Kind::kReturned) {
        add(elsewhere, rank_name(rank) + " has returned from its training function");
        break;
      }
      if (!wait_more()) {
        add(elsewhere, rank_name(rank) + " has not come");
        break;
      }
    }
  }
  return elsewhere;
}

std::string grouped_by_value(const std::vector<std::string>& values, std::span<const int> names) {
  const auto name = [&](std::size_t index) {
    return names.empty() ? std::to_string(index) : std::to_string(names[index]);
  };
  std::vector<std::pair<std::string, std::vector<std::size_t>>> groups;
  for (std::size_t rank = 0; rank < values.size(); ++rank) {
    const auto group =
        std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.first == values[rank]; });
    if (group == groups.end())
      groups.emplace_back(values[rank], std::vector{rank});
    else
      group->second.push_back(rank);
  }
  std::string text;
  for (const auto& [value, ranks] : groups) {
    std::string list = name(ranks.front());
    for (std::size_t i = 1; i < ranks.size(); ++i)
      list += (i + 1 == ranks.size() ? " and " : ", ") + name(ranks[i]);
    text += (text.empty() ? "" : "; ") + value + (ranks.size() == 1 ? " on rank " : " on ranks ") + list;
  }
  return text;
}

}  // namespace rtrain::runtime
