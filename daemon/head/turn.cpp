#include "daemon/head/turn.h"

#include "common/log/log.h"

#include <algorithm>
#include <stdexcept>

namespace rtrain::head {

/// A turn that ends by an exception leaves nothing to the next one.
class Turn::Running {
 public:
  explicit Running(Turn& turn) : turn_(turn) { turn_.running_ = true; }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  ~Running() {
    turn_.running_ = false;
    turn_.applied_.actions.clear();
    turn_.applied_.touched.clear();
    turn_.stack_.clear();
    turn_.posted_.clear();
    turn_.touched_.clear();
  }

 private:
  Turn& turn_;
};

Result<Done> Turn::apply(JobId id, proto::JobEvent event) {
  if (running_) throw std::logic_error("an event is applied within a turn: it must be posted");
  Result<Done> done = ok();
  {
    const Running turn(*this);
    done = book_.apply(id, std::move(event), clock_.wall(), applied_);
    if (done) work();
  }
  if (done) handler_.on_end();
  return done;
}

void Turn::work_off() {
  if (running_) return;
  {
    const Running turn(*this);
    work();
  }
  handler_.on_end();
}

void Turn::post(JobId id, proto::JobEvent event) {
  posted_.push_back({id, std::move(event)});
  work_off();
}

void Turn::post(JobId id, std::vector<proto::JobEvent> events) {
  if (events.empty()) return;
  for (auto& event : events) posted_.push_back({id, std::move(event)});
  work_off();
}

Result<JobId> Turn::submit(proto::JobSpec spec, const QueueRoom& room, const std::string& user,
                           const std::string& submission, std::optional<proto::ValidatedCheckpoint> validates,
                           std::optional<proto::SweepTrial> sweep) {
  auto id = book_.submit(std::move(spec), clock_.wall(), room, applied_, user, submission,
                         std::move(validates), sweep);
  if (!id) return id;
  take_applied();
  work_off();
  return id;
}

void Turn::touch(std::span<const JobId> ids) {
  if (running_)
    touched_.insert(touched_.end(), ids.begin(), ids.end());
  else
    for (const auto id : ids) handler_.on_touched(id);
}

void Turn::take_applied() {
  for (auto& [id, action] : applied_.actions) posted_.push_back({id, std::move(action)});
  touched_.insert(touched_.end(), applied_.touched.begin(), applied_.touched.end());
  applied_.actions.clear();
  applied_.touched.clear();
}

void Turn::apply_posted(JobId id, proto::JobEvent event) {
  const auto name = proto::event_name(event);
  if (auto done = book_.apply(id, std::move(event), clock_.wall(), applied_); !done)
    log::debug("event refused",
               {{"job", to_string(id)}, {"event", std::string(name)}, {"cause", done.error().message()}});
}

void Turn::work() {
  for (;;) {
    take_applied();
    stack_.insert(stack_.end(), std::make_move_iterator(posted_.rbegin()),
                  std::make_move_iterator(posted_.rend()));
    posted_.clear();
    if (stack_.empty()) break;
    auto due = std::move(stack_.back());
    stack_.pop_back();
    if (auto* event = std::get_if<proto::JobEvent>(&due.what))
      apply_posted(due.id, std::move(*event));
    else
      handler_.on_action(due.id, std::get<core::Action>(due.what));
  }
  sync();
}

void Turn::sync() {
  std::ranges::sort(touched_);
  const auto again = std::ranges::unique(touched_);
  touched_.erase(again.begin(), again.end());
  for (const auto id : touched_) handler_.on_touched(id);
}

}  // namespace rtrain::head
