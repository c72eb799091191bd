// GET /v1/jobs: all jobs, a page at a time.
#include "daemon/head/documents.h"
#include "daemon/head/route_call.h"

#include <algorithm>
#include <limits>

namespace rtrain::head {
namespace {

using proto::Json;

constexpr std::int64_t kJobsDefault = 1000, kJobsMax = 10'000;
constexpr std::int64_t kAllJobs = std::numeric_limits<std::int64_t>::max();  // as `before`; clients say it too
constexpr std::int64_t kScan = 1000;  // ended jobs that one request reads from the store: what is rare must not stall the head

struct Filter {
  std::optional<core::JobPhase> state;
  std::optional<std::string> user;
  std::int64_t array = 0;  ///< 0: any

  [[nodiscard]] bool takes(const core::JobState& job) const {
    return (!state || *state == job.phase) && (!user || *user == job.user) && (array == 0 || (job.array && job.array->id == JobId(array)));
  }
  [[nodiscard]] bool takes_all() const { return !state && !user && array == 0; }
  /// Jobs that have not ended are in memory, all of them.
  [[nodiscard]] bool may_be_ended() const { return !state || core::is_terminal(*state); }
};

Result<Filter> filter_of(const RouteCall& call) {
  static const std::vector<std::string> kStates = [] {
    std::vector<std::string> names;
    for (int phase = 0; phase <= static_cast<int>(core::JobPhase::kCancelled); ++phase) names.emplace_back(core::to_string(static_cast<core::JobPhase>(phase)));
    return names;
  }();
  const auto state = query_choice(call.target, "state", kStates);
  if (!state) return state.error();
  const auto array = query_number(call.target, "array", 0, 1);
  if (!array) return array.error();
  const auto user = call.target.query.find("user");
  return Filter{*state ? std::optional(static_cast<core::JobPhase>(**state)) : std::nullopt, user == call.target.query.end() ? std::nullopt : std::optional(user->second), *array};
}

/// Jobs from `below` on downwards, newest first: those in memory, and between and below them the ended ones of the store.
class Page {
 public:
  Page(const RouteCall& call, const Filter& filter, std::int64_t limit, std::int64_t before)
      : call_(call), filter_(filter), limit_(limit), below_(first_below(before)), live_(book().all()), next_live_(std::make_reverse_iterator(live_.lower_bound(below_))) {}

  [[nodiscard]] Result<Done> read() {
    if (!filter_.may_be_ended()) {
      take_live_down_to(JobId(0));
      return ok();
    }
    const auto scan = filter_.takes_all() ? std::min(limit_, kScan) : kScan;
    auto ended = book().history().ended_jobs(below_, static_cast<int>(scan));
    if (!ended) return ended.error();
    for (auto& state : *ended) {
      take_live_down_to(state.id);
      if (full()) return ok();
      below_ = state.id;
      if (live_.contains(state.id) || !filter_.takes(state)) continue;
      JobRecord record;
      record.state = std::move(state);
      jobs_.push_back(job_doc(record));
    }
    more_in_store_ = std::cmp_equal(ended->size(), scan);
    if (!more_in_store_) take_live_down_to(JobId(0));
    return ok();
  }

  [[nodiscard]] Json take() {
    const bool more = (more_in_store_ || full()) && below_.value() > std::max<std::int64_t>(1, filter_.array);
    return {{"jobs", std::move(jobs_)}, {"next", more ? below_.value() : 0}, {"more", more}};
  }

 private:
  [[nodiscard]] const JobBook& book() const { return call_.dispatcher.jobs(); }
  [[nodiscard]] bool full() const { return std::cmp_greater_equal(jobs_.size(), limit_); }
  /// The jobs of an array have the numbers from the array's on.
  [[nodiscard]] JobId first_below(std::int64_t before) const {
    const auto* first = filter_.array > 0 ? book().find(JobId(filter_.array)) : nullptr;
    return JobId(first != nullptr && first->state.array ? std::min(before, filter_.array + first->state.array->count) : before);
  }
  void take_live_down_to(JobId last) {
    for (; next_live_ != live_.rend() && next_live_->first >= last && !full(); ++next_live_) {
      below_ = next_live_->first;
      if (filter_.takes(next_live_->second.state)) jobs_.push_back(call_.doc(next_live_->second));
    }
  }

  const RouteCall& call_;
  const Filter& filter_;
  std::int64_t limit_;
  JobId below_;  ///< every job from here on was looked at
  const std::map<JobId, JobRecord>& live_;
  std::map<JobId, JobRecord>::const_reverse_iterator next_live_;
  bool more_in_store_ = false;
  Json jobs_ = Json::array();
};

Reply list(const RouteCall& call) {
  const auto limit = query_number(call.target, "limit", kJobsDefault, 1, kJobsMax);
  const auto before = query_number(call.target, "before", kAllJobs, 1, kAllJobs);
  for (const auto* number : {&limit, &before})
    if (!*number) return call.error(number->error());
  const auto filter = filter_of(call);
  if (!filter) return call.error(filter.error());
  Page page(call, *filter, *limit, *before);
  if (auto read = page.read(); !read) return call.error(read.error());
  return call.json(page.take());
}

}  // namespace

std::vector<Handler> list_routes() { return {{{http::verb::get, "/v1/jobs"}, list, {"state", "user", "array", "limit", "before"}}}; }

}  // namespace rtrain::head
