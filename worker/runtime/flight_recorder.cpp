#include "worker/runtime/flight_recorder.h"

#include <algorithm>
#include <atomic>
#include <utility>

namespace rtrain::runtime {
namespace {

thread_local std::string_view unit_here;
thread_local FlightParts* parts_here = nullptr;

std::atomic<const char*> place_here{nullptr};
std::atomic<FlightRecorder::Clock::rep> place_since{0};

bool is_message(FlightOperation operation) {
  return operation == FlightOperation::kSend || operation == FlightOperation::kReceive;
}

double seconds_between(FlightRecorder::Clock::time_point from, FlightRecorder::Clock::time_point to) {
  return std::max(0.0, std::chrono::duration<double>(to - from).count());
}

}  // namespace

const char* to_string(FlightOperation operation) {
  switch (operation) {
    case FlightOperation::kAllReduce: return "all_reduce";
    case FlightOperation::kBroadcast: return "broadcast";
    case FlightOperation::kAllGather: return "all_gather";
    case FlightOperation::kReduceScatter: return "reduce_scatter";
    case FlightOperation::kBarrier: return "barrier";
    case FlightOperation::kSend: return "send";
    case FlightOperation::kReceive: return "recv";
  }
  return "";
}

int FlightRecorder::add_group(std::string path, std::string name, std::vector<int> ranks) {
  const std::lock_guard lock(mutex_);
  groups_.push_back({std::move(path), std::move(name), std::move(ranks), 0, {}});
  return static_cast<int>(groups_.size()) - 1;
}

FlightRecorder::Ticket FlightRecorder::begin(int group, const FlightCall& call) {
  const auto unit = unit_here;
  const auto now = Clock::now();
  const std::lock_guard lock(mutex_);
  auto& of = groups_[static_cast<std::size_t>(group)];
  auto& entry = ring_[static_cast<std::size_t>(++last_) % kKept];
  entry.number = last_;
  entry.group = group;
  entry.operation = call.operation;
  entry.state = State::kStarted;
  entry.open_parts = 1;
  entry.purpose = call.purpose;
  entry.dtype = call.dtype;
  entry.detail = call.detail;
  entry.bytes = call.bytes;
  entry.root = call.root;
  entry.order = call.order;
  entry.peer = -1;
  entry.started = now;
  entry.dimensions = static_cast<std::int16_t>(std::min(call.shape.size(), kDimensions));
  std::copy_n(call.shape.begin(), entry.dimensions, entry.shape.begin());
  const auto letters = std::min(unit.size(), kUnitBytes - 1);
  std::copy_n(unit.begin(), letters, entry.unit.begin());
  entry.unit[letters] = '\0';
  if (is_message(call.operation)) {
    entry.peer = of.ranks[static_cast<std::size_t>(call.peer)];
    auto counted = std::ranges::find_if(of.messages, [&](const Messages& one) {
      return one.peer == entry.peer && one.operation == entry.operation;
    });
    if (counted == of.messages.end())
      counted = of.messages.insert(of.messages.end(), {entry.peer, entry.operation, 0});
    entry.seq = ++counted->count;
  } else {
    entry.seq = ++of.started;
  }
  return last_;
}

FlightRecorder::Entry* FlightRecorder::find(Ticket ticket) {
  auto& entry = ring_[static_cast<std::size_t>(ticket) % kKept];
  return ticket != 0 && entry.number == ticket ? &entry : nullptr;
}

const FlightRecorder::Entry* FlightRecorder::find(Ticket ticket) const {
  const auto& entry = ring_[static_cast<std::size_t>(ticket) % kKept];
  return ticket != 0 && entry.number == ticket ? &entry : nullptr;
}

void FlightRecorder::add_part(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  if (auto* entry = find(ticket)) ++entry->open_parts;
}

void FlightRecorder::wait(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  if (auto* entry = find(ticket); entry != nullptr && entry->state == State::kStarted)
    entry->state = State::kWaiting;
}

void FlightRecorder::queued(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  if (auto* entry = find(ticket); entry != nullptr && --entry->open_parts == 0) entry->state = State::kQueued;
}

void FlightRecorder::end(Ticket ticket, State state) {
  const auto now = Clock::now();
  const std::lock_guard lock(mutex_);
  auto* entry = find(ticket);
  if (entry == nullptr || entry->state == State::kFailed) return;
  const bool over = --entry->open_parts == 0;
  if (state == State::kFailed || over) {
    entry->state = state;
    entry->finished = now;
  } else {
    entry->state = State::kStarted;  // the wait for its other parts comes, or was before
  }
}

void FlightRecorder::finish(Ticket ticket) { end(ticket, State::kFinished); }
void FlightRecorder::failed(Ticket ticket) { end(ticket, State::kFailed); }

std::string FlightRecorder::signature_of(const Entry& entry) {
  std::string text = to_string(entry.operation);
  if (*entry.purpose != '\0' && text != entry.purpose) text = entry.purpose + (": " + text);
  if (*entry.detail != '\0') text += "(" + std::string(entry.detail) + ")";
  if (entry.root >= 0) text += " from rank " + std::to_string(entry.root);
  if (*entry.dtype != '\0') {
    text += " of " + std::string(entry.dtype) + " [";
    for (std::int16_t i = 0; i < entry.dimensions; ++i)
      text += (i > 0 ? ", " : "") + std::to_string(entry.shape[static_cast<std::size_t>(i)]);
    text += "]";
  }
  if (entry.unit[0] != '\0') text += " for " + std::string(entry.unit.data());
  return text;
}

std::string FlightRecorder::signature(Ticket ticket) const {
  const std::lock_guard lock(mutex_);
  const auto* entry = find(ticket);
  return entry == nullptr ? "" : signature_of(*entry);
}

std::string FlightRecorder::signature_in_order(std::int64_t order) const {
  const std::lock_guard lock(mutex_);
  for (Ticket number = last_; number > 0 && number > last_ - static_cast<Ticket>(kKept); --number)
    if (const auto* entry = find(number); entry != nullptr && order > 0 && entry->order == order)
      return signature_of(*entry);
  return {};
}

proto::Flight FlightRecorder::document(const Entry& entry, Clock::time_point now) const {
  proto::Flight flight;
  flight.group = groups_[static_cast<std::size_t>(entry.group)].path;
  flight.seq = entry.seq;
  flight.operation = to_string(entry.operation);
  if (flight.operation != entry.purpose) flight.purpose = entry.purpose;
  flight.unit = entry.unit.data();
  flight.dtype = entry.dtype;
  flight.shape.assign(entry.shape.begin(), entry.shape.begin() + entry.dimensions);
  flight.bytes = entry.bytes;
  flight.detail = entry.detail;
  if (entry.root >= 0) flight.detail = "root " + std::to_string(entry.root);
  if (entry.peer >= 0) flight.peer = entry.peer;
  flight.age_s = seconds_between(entry.started, now);
  switch (entry.state) {
    case State::kStarted: flight.state = "started"; break;
    case State::kWaiting: flight.state = "waiting"; break;
    case State::kQueued: flight.state = "queued"; break;
    case State::kFinished: flight.state = "finished"; break;
    case State::kFailed: flight.state = "failed"; break;
  }
  if (entry.state == State::kFinished || entry.state == State::kFailed)
    flight.took_s = seconds_between(entry.started, entry.finished);
  return flight;
}

void FlightRecorder::read(proto::RankSnapshot& into, std::size_t at_most, Clock::time_point now) const {
  const std::lock_guard lock(mutex_);
  for (const auto& group : groups_)
    into.groups.push_back({group.path, group.name, group.ranks, group.started});
  const auto first = std::max<Ticket>(1, last_ - static_cast<Ticket>(kKept) + 1);
  for (Ticket number = first; number <= last_; ++number) {
    const auto* entry = find(number);
    if (entry == nullptr) continue;
    const bool over = entry->state == State::kFinished || entry->state == State::kQueued;
    if (!over || number > last_ - static_cast<Ticket>(at_most)) into.flights.push_back(document(*entry, now));
  }
}

FlightRecorder& flight_recorder() {
  static auto* const recorder = new FlightRecorder;
  return *recorder;
}

FlightUnit::FlightUnit(std::string_view unit) noexcept : before_(std::exchange(unit_here, unit)) {}
FlightUnit::~FlightUnit() { unit_here = before_; }

FlightParts::FlightParts(const FlightCall& call) noexcept
    : call_(call), before_(std::exchange(parts_here, this)) {}

FlightParts::~FlightParts() {
  parts_here = before_;
  if (recorder_ != nullptr) recorder_->finish(ticket_);  // its own part: no message follows
}

FlightRecorder::Ticket FlightParts::join(FlightRecorder& recorder, int group, std::int64_t order) {
  if (parts_here == nullptr) return 0;
  if (parts_here->recorder_ == nullptr) {
    parts_here->recorder_ = &recorder;
    parts_here->call_.order = order;
    parts_here->ticket_ = recorder.begin(group, parts_here->call_);
  }
  recorder.add_part(parts_here->ticket_);
  return parts_here->ticket_;
}

bool FlightParts::is_first() noexcept { return parts_here != nullptr && parts_here->recorder_ == nullptr; }

FlightPlace::FlightPlace(const char* what) noexcept {
  place_since.store(FlightRecorder::Clock::now().time_since_epoch().count(), std::memory_order_relaxed);
  place_here.store(what, std::memory_order_release);
}

FlightPlace::~FlightPlace() { place_here.store(nullptr, std::memory_order_release); }

void FlightPlace::read(proto::RankSnapshot& into, FlightRecorder::Clock::time_point now) {
  const char* what = place_here.load(std::memory_order_acquire);
  if (what == nullptr) return;
  const FlightRecorder::Clock::time_point since{
      FlightRecorder::Clock::duration(place_since.load(std::memory_order_relaxed))};
  into.place = what;
  into.place_s = seconds_between(since, now);
}

}  // namespace rtrain::runtime
