// GET /v1/jobs: all jobs, a page at a time.
#include "daemon/head/api/documents.h"
#include "daemon/head/api/route_call.h"

#include <algorithm>
#include <limits>

namespace rtrain::head {
namespace {

constexpr std::int64_t kJobsDefault = 1000, kJobsMax = 10'000;
// as `before`; clients say it too
constexpr std::int64_t kAllJobs = std::numeric_limits<std::int64_t>::max();
// ended jobs that one request reads from the store: what is rare must not stall the head
constexpr std::int64_t kScan = 1000;

struct Filter {
  std::optional<core::JobPhase> state;
  std::optional<std::string> user;
  std::int64_t array = 0;  ///< 0: any

  [[nodiscard]] bool takes(core::JobPhase phase, const std::string& of_user, std::int64_t of_array) const {
    return (!state || *state == phase) && (!user || *user == of_user) && (array == 0 || of_array == array);
  }
  [[nodiscard]] bool takes_all() const { return !state && !user && array == 0; }
  /// Jobs that have not ended are in memory, all of them.
  [[nodiscard]] bool may_be_ended() const { return !state || core::is_terminal(*state); }
};

Result<Filter> filter_of(const RouteCall& call) {
  static const std::vector<std::string> kStates = [] {
    std::vector<std::string> names;
    for (int phase = 0; phase <= static_cast<int>(core::JobPhase::kCancelled); ++phase)
      names.emplace_back(core::to_string(static_cast<core::JobPhase>(phase)));
    return names;
  }();
  const auto state = query_choice(call.target, "state", kStates);
  if (!state) return state.error();
  const auto array = query_number(call.target, "array", 0, 1);
  if (!array) return array.error();
  const auto user = call.target.query.find("user");
  return Filter{*state ? std::optional(static_cast<core::JobPhase>(**state)) : std::nullopt,
                user == call.target.query.end() ? std::nullopt : std::optional(user->second), *array};
}

/// Jobs from `below` on downwards, newest first: those in memory, and between and below them the ended ones
/// of the store.
class Page {
 public:
  Page(const RouteCall& call, const Filter& filter, std::int64_t limit, std::int64_t before)
      : call_(call),
        filter_(filter),
        limit_(limit),
        below_(first_below(before)),
        live_(book().all()),
        next_live_(std::make_reverse_iterator(live_.lower_bound(below_))) {}

  [[nodiscard]] Result<Done> read() {
    if (!filter_.may_be_ended()) {
      take_live_down_to(JobId(0));
      return ok();
    }
    const auto scan = filter_.takes_all() ? std::min(limit_, kScan) : kScan;
    auto ended = book().history().ended_ids(below_, static_cast<int>(scan));
    if (!ended) return ended.error();
    for (const auto id : *ended) {
      take_live_down_to(id);
      if (full()) return ok();
      below_ = id;
      if (live_.contains(id)) continue;
      auto row = ended_row(id);
      if (!row) return row.error();
      if (*row != nullptr && takes(**row)) add(**row);
    }
    more_in_store_ = std::cmp_equal(ended->size(), scan);
    if (!more_in_store_) take_live_down_to(JobId(0));
    return ok();
  }

  [[nodiscard]] std::string take() {
    const bool more = (more_in_store_ || full()) && below_.value() > std::max<std::int64_t>(1, filter_.array);
    return "{\"jobs\":[" + text_ + "],\"more\":" + (more ? "true" : "false") +
           ",\"next\":" + std::to_string(more ? below_.value() : 0) + "}\n";
  }

 private:
  [[nodiscard]] const JobBook& book() const { return call_.dispatcher.jobs(); }
  [[nodiscard]] bool full() const { return taken_ >= limit_; }
  [[nodiscard]] bool takes(const JobRow& row) const { return filter_.takes(row.phase, row.user, row.array); }
  void add(const JobRow& row) {
    if (taken_++ > 0) text_ += ',';
    text_ += row.text;
  }
  [[nodiscard]] JobRow row_of(const JobRecord& record) const {
    const auto& state = record.state;
    return {state.id,
            state.phase,
            state.user,
            state.array ? state.array->id.value() : 0,
            proto::dump_json(proto::Json(call_.doc(record))),
            record.state_version,
            record.progress_version,
            call_.dispatcher.context().epoch};
  }
  /// A job that ended does not change. Null: it was forgotten meanwhile.
  [[nodiscard]] Result<const JobRow*> ended_row(JobId id) {
    auto& rows = call_.dispatcher.rows();
    if (const auto* known = rows.find(id); known != nullptr && core::is_terminal(known->phase)) return known;
    auto state = book().history().ended_job(id);
    if (!state) return state.error();
    if (!*state) return static_cast<const JobRow*>(nullptr);
    JobRecord record;
    record.state = std::move(**state);
    return &rows.put(row_of(record));
  }
  [[nodiscard]] const JobRow& live_row(const JobRecord& record) {
    auto& rows = call_.dispatcher.rows();
    const auto* known = rows.find(record.state.id);
    const bool good =
        known != nullptr && known->state_version == record.state_version &&
        known->progress_version == record.progress_version &&
        (record.state.phase != core::JobPhase::kQueued || known->epoch == call_.dispatcher.context().epoch);
    return good ? *known : rows.put(row_of(record));
  }
  /// The jobs of an array have the numbers from the array's on.
  [[nodiscard]] JobId first_below(std::int64_t before) const {
    const auto* first = filter_.array > 0 ? book().find(JobId(filter_.array)) : nullptr;
    return JobId(first != nullptr && first->state.array
                     ? std::min(before, filter_.array + first->state.array->count)
                     : before);
  }
  void take_live_down_to(JobId last) {
    for (; next_live_ != live_.rend() && next_live_->first >= last && !full(); ++next_live_) {
      below_ = next_live_->first;
      const auto& state = next_live_->second.state;
      if (filter_.takes(state.phase, state.user, state.array ? state.array->id.value() : 0))
        add(live_row(next_live_->second));
    }
  }

  const RouteCall& call_;
  const Filter& filter_;
  std::int64_t limit_;
  JobId below_;  ///< every job from here on was looked at
  const std::map<JobId, JobRecord>& live_;
  std::map<JobId, JobRecord>::const_reverse_iterator next_live_;
  bool more_in_store_ = false;
  std::string text_;  ///< rows, with commas between
  std::int64_t taken_ = 0;
};

Reply list(const RouteCall& call) {
  const auto limit = query_number(call.target, "limit", kJobsDefault, 1, kJobsMax);
  const auto before = query_number(call.target, "before", kAllJobs, 1, kAllJobs);
  for (const auto* number : {&limit, &before})
    if (!*number) return call.error(number->error());
  const auto filter = filter_of(call);
  if (!filter) return call.error(filter.error());
  // Many ask for the same: what none of them has to wait for twice.
  auto& rows = call.dispatcher.rows();
  const auto epoch = call.dispatcher.context().epoch;
  const std::string question(call.request.target());
  if (const auto* known = rows.page(question, epoch))
    return text_response(http::status::ok, *known, call.request);
  Page page(call, *filter, *limit, *before);
  if (auto read = page.read(); !read) return call.error(read.error());
  auto text = page.take();
  auto response = text_response(http::status::ok, text, call.request);
  rows.put_page(question, epoch, std::move(text));
  return response;
}

}  // namespace

std::vector<Handler> list_routes() {
  return {{{http::verb::get, "/v1/jobs"}, list, {"state", "user", "array", "limit", "before"}}};
}

}  // namespace rtrain::head
