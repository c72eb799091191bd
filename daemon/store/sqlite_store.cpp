#include "daemon/store/sqlite_store.h"

#include "common/base/clip.h"
#include "common/log/log.h"
#include "daemon/store/job_state_json.h"
#include "daemon/store/recovery.h"
#include "daemon/store/schema.h"
#include "daemon/store/stored_sweeps.h"

#include <boost/asio/post.hpp>

#include <algorithm>

#include <sys/resource.h>

namespace rtrain::store {
namespace asio = boost::asio;
namespace {

/// A snapshot after so many events: a start replays no more of a job.
constexpr std::int64_t kEventsBetweenSnapshots = 1000;
std::size_t open_files_max() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 256;
  return std::clamp<std::size_t>(static_cast<std::size_t>(limit.rlim_cur) / 4, 16, 2048);
}

}  // namespace

struct SqliteStore::Link {
  asio::any_io_executor executor;
  SqliteStore* store = nullptr;  ///< used on the executor only
  std::atomic<bool> posted = false;
};

// ---- life ---------------------------------------------------------------------------------------

SqliteStore::SqliteStore(asio::any_io_executor executor, StoreOptions options)
    : options_(std::move(options)), link_(std::make_shared<Link>()) {
  link_->executor = std::move(executor);
  link_->store = this;
}

Result<std::unique_ptr<SqliteStore>> SqliteStore::open(asio::any_io_executor executor, StoreOptions options) {
  std::unique_ptr<SqliteStore> store(new SqliteStore(std::move(executor), std::move(options)));
  const auto& opts = store->options_;
  auto database = open_journal(opts.state_dir, opts.sync);
  if (!database) return database.error();
  auto mark = JobNumbers::read(opts.state_dir);
  if (!mark) return mark.error();
  auto segments = std::make_unique<SegmentFiles>(
      opts.state_dir, SegmentFiles::Options{opts.sync ? forced_to_disk() : left_to_the_system(),
                                            open_files_max(), kSegmentBytes});
  auto recovery = recover_journal(**database, opts.state_dir, *segments);
  if (!recovery) return recovery.error();
  store->recovered_ = std::move(recovery->found);
  store->since_snapshot_ = std::move(recovery->since_snapshot);
  store->next_id_ = std::max(recovery->next_id, *mark);
  auto reader = Database::open(journal_path(opts.state_dir), Database::Mode::kReadOnly);
  if (!reader) return reader.error().in("the journal");
  store->reader_ = std::move(*reader);
  if (auto prepared = store->prepare(); !prepared) return prepared.error().in("the journal");
  const auto progressed = [link = store->link_] {
    if (link->posted.exchange(true)) return;
    asio::post(link->executor, [link] {
      link->posted = false;
      if (link->store != nullptr) link->store->tell();
    });
  };
  auto writer = Writer::start({std::move(*database), std::move(segments), std::move(recovery->next_event),
                               JobNumbers(opts.state_dir, *mark, opts.sync), store->next_id_, opts.state_dir,
                               opts.ballast_bytes, progressed});
  if (!writer) return writer.error().in("the journal");
  store->writer_ = std::move(*writer);
  return store;
}

Result<Done> SqliteStore::prepare() {
  for (auto& [statement, sql] : std::initializer_list<std::pair<Statement&, std::string_view>>{
           {ended_job_, "SELECT snapshot, phase FROM jobs WHERE id=? AND ended>0"},
           {ended_jobs_,
            "SELECT id, snapshot, phase FROM jobs WHERE id<? AND ended>0 ORDER BY id DESC LIMIT ?"},
           {ended_ids_, "SELECT id FROM jobs WHERE id<? AND ended>0 ORDER BY id DESC LIMIT ?"},
           {events_, "SELECT json FROM events WHERE job=? AND number>=? ORDER BY number LIMIT ?"},
           {ended_sweep_, "SELECT ended FROM sweeps WHERE id=? AND ended>0"},
           {ended_sweeps_, "SELECT id, row FROM sweeps WHERE id<? AND ended>0 ORDER BY id DESC LIMIT ?"},
           {all_events_, kEventsOfSweep},
           {submission_, "SELECT id FROM jobs WHERE submission=? ORDER BY id LIMIT 1"},
           {submission_of_sweep_, "SELECT id FROM sweeps WHERE submission=? ORDER BY id LIMIT 1"},
           {segments_,
            "SELECT segment, first, points, bytes, last_at FROM segments WHERE job=? ORDER BY segment"}}) {
    auto prepared = reader_->prepare(sql);
    if (!prepared) return prepared.error();
    statement = std::move(*prepared);
  }
  auto specs = StoredSpecs::open(*reader_);
  if (!specs) return specs.error();
  specs_ = std::move(*specs);
  return ok();
}

SqliteStore::~SqliteStore() {
  link_->store = nullptr;
  if (!writer_) return;
  hand_over();
  // Before the writer: the last connection removes the log, and only one that writes can.
  for (auto* statement : {&ended_job_, &ended_jobs_, &ended_ids_, &events_, &segments_, &submission_,
                          &ended_sweep_, &ended_sweeps_, &all_events_, &submission_of_sweep_})
    *statement = {};
  specs_ = {};
  reader_.reset();
}

// ---- writing ------------------------------------------------------------------------------------

void SqliteStore::append(JobId id, const proto::StampedEvent& event, const core::JobState& after) {
  const bool ended = core::is_terminal(after.phase);
  auto& since = since_snapshot_[id];
  const bool due = ended || ++since >= kEventsBetweenSnapshots;
  // A report that is an event as well: at a start one counts only with the other.
  if (const auto* report = std::get_if<proto::MetricsReported>(&event.event)) {
    const auto points = batch_.points.find(id);
    if (report->seq == after.last_seq && points != batch_.points.end())
      mark_as_event(points->second.records, points->second.last_at);
  }
  batch_.records.emplace_back(
      Batch::Event{id, event, due ? std::make_unique<core::JobState>(after) : nullptr});
  if (auto& snapshot = std::get<Batch::Event>(batch_.records.back()).snapshot) snapshot->spec = {};
  ++batch_.count.events;
  ++appended_.events;
  if (ended)
    since_snapshot_.erase(id);
  else if (due)
    since = 0;
  hand_over_soon();
}

void SqliteStore::append(JobId id, const proto::MetricPoint& point) {
  auto& points = batch_.points[id];
  points.last_at = points.records.size();
  encode_point(points.records, point);
  ++points.count;
  ++batch_.count.points;
  ++appended_.points;
  hand_over_soon();
}

void SqliteStore::append(JobId sweep, const proto::StampedSweepEvent& event, const proto::Json& row) {
  batch_.records.emplace_back(Batch::SweepEvent{sweep, event, row});
  ++batch_.count.events;
  ++appended_.events;
  hand_over_soon();
}

void SqliteStore::put(const Document& document) {
  batch_.records.emplace_back(document);
  ++batch_.count.events;
  ++appended_.events;
  hand_over_soon();
}

/// When the handler that appends is through: what it appends stays together, a point and the event of the
/// same report above all.
void SqliteStore::hand_over_soon() {
  if (handing_over_) return;
  handing_over_ = true;
  asio::post(link_->executor, [link = link_] {
    if (link->store != nullptr) link->store->hand_over();
  });
}

void SqliteStore::hand_over() {
  handing_over_ = false;
  if (batch_.count == Mark{}) return;
  writer_->queue(std::exchange(batch_, {}));
}

void SqliteStore::prune(PruneRequest request, std::function<void(const Pruned&)> told) {
  writer_->prune(std::move(request), [link = link_, told = std::move(told)](Pruned pruned) {
    asio::post(link->executor, [link, told, pruned = std::move(pruned)] {
      if (link->store != nullptr) told(pruned);
    });
  });
}

void SqliteStore::tell() {
  const auto reached = writer_->durable();
  if (reached == durable_) return;
  durable_ = reached;
  if (grown_) grown_();
}

// ---- reading ------------------------------------------------------------------------------------

Result<core::JobState> SqliteStore::state_of(JobId id, std::string_view snapshot) {
  auto json = proto::parse_json(snapshot, kStoredJson);
  auto state = json ? job_state_from_json(*json) : Result<core::JobState>(json.error());
  if (state)
    if (auto done = specs_.complete(*state); !done) state = done.error();
  if (!state)
    return fail(Errc::kIo,
                "the journal: the snapshot of job " + to_string(id) + ": " + state.error().message());
  return state;
}

/// What is known of an ended job whose record cannot be read: it stands in lists, and they go on.
core::JobState SqliteStore::unreadable(JobId id, std::string_view phase, const Error& why) {
  if (unreadable_.insert(id).second)
    log::error("an ended job cannot be read",
               {{"job", to_string(id)}, {"cause", why.message()}, {"hint", repair_hint(options_.state_dir)}});
  core::JobState state;
  state.id = id;
  state.phase = core::phase_from_string(phase).value_or(core::JobPhase::kFailed);
  state.verdict = "its record cannot be read: " + clipped(why.message(), 500);
  return state;
}

Result<std::optional<core::JobState>> SqliteStore::ended_job(JobId id) {
  auto row = ended_job_.bind(id.value()).step();
  if (!row) return row.error().in("the journal");
  if (!*row) return std::optional<core::JobState>();
  auto state = state_of(id, ended_job_.text(0));
  if (!state) state = unreadable(id, ended_job_.text(1), state.error());
  ended_job_.reset();
  return std::optional(std::move(*state));
}

Result<std::vector<core::JobState>> SqliteStore::ended_jobs(JobId before, int limit) {
  std::vector<core::JobState> found;
  ended_jobs_.bind(before.value()).bind(limit);
  for (;;) {
    auto row = ended_jobs_.step();
    if (!row) return row.error().in("the journal");
    if (!*row) return found;
    const JobId id(ended_jobs_.integer(0));
    auto state = state_of(id, ended_jobs_.text(1));
    if (!state) state = unreadable(id, ended_jobs_.text(2), state.error());
    found.push_back(std::move(*state));
  }
}

Result<std::vector<JobId>> SqliteStore::ended_ids(JobId before, int limit) {
  std::vector<JobId> found;
  ended_ids_.bind(before.value()).bind(limit);
  for (;;) {
    auto row = ended_ids_.step();
    if (!row) return row.error().in("the journal");
    if (!*row) return found;
    found.emplace_back(ended_ids_.integer(0));
  }
}

Result<std::optional<JobId>> SqliteStore::job_of_submission(const std::string& submission) {
  return submitted_with(submission_, submission);
}

Result<std::optional<JobId>> SqliteStore::sweep_of_submission(const std::string& submission) {
  return submitted_with(submission_of_sweep_, submission);
}

Result<std::optional<JobId>> SqliteStore::submitted_with(Statement& statement,
                                                         const std::string& submission) {
  auto row = statement.bind(submission).step();
  if (!row) return row.error().in("the journal");
  if (!*row) return std::optional<JobId>();
  const JobId id(statement.integer(0));
  statement.reset();
  return std::optional(id);
}

Result<std::vector<proto::StampedEvent>> SqliteStore::events(JobId id, std::int64_t from, int limit) {
  std::vector<proto::StampedEvent> found;
  events_.bind(id.value()).bind(from).bind(limit);
  for (;;) {
    auto row = events_.step();
    if (!row) return row.error().in("the journal");
    if (!*row) return found;
    auto json = proto::parse_json(events_.text(0), kStoredJson);
    auto event = json ? proto::event_from_json(*json) : Result<proto::StampedEvent>(json.error());
    if (!event) {
      events_.reset();
      return fail(Errc::kIo, "the journal: event " +
                                 std::to_string(from + static_cast<std::int64_t>(found.size())) + " of job " +
                                 to_string(id) + ": " + event.error().message());
    }
    if (auto* submitted = std::get_if<proto::JobSubmitted>(&event->event))
      if (auto done = specs_.complete(id, *submitted); !done) {
        events_.reset();
        return fail(Errc::kIo,
                    "the journal: event 0 of job " + to_string(id) + ": " + done.error().message());
      }
    found.push_back(std::move(*event));
  }
}

Result<std::optional<SweepRecord>> SqliteStore::ended_sweep(JobId id) {
  auto row = ended_sweep_.bind(id.value()).step();
  if (!row) return row.error().in("the journal");
  if (!*row) return std::optional<SweepRecord>();
  const auto ended_ms = ended_sweep_.integer(0);
  ended_sweep_.reset();
  auto found = replay_stored_sweep(all_events_, id);
  // A part of its events would show a sweep that goes on, with fewer trials and another best one.
  if (!found.record || !found.problem.empty())
    return fail(Errc::kIo, "the journal: sweep " + to_string(id) + " cannot be read back: " + found.problem,
                repair_hint(options_.state_dir));
  found.record->ended_ms = ended_ms;
  return std::optional(std::move(*found.record));
}

Result<std::vector<std::pair<JobId, proto::Json>>> SqliteStore::ended_sweeps(JobId before, int limit) {
  std::vector<std::pair<JobId, proto::Json>> rows;
  ended_sweeps_.bind(before.value()).bind(limit);
  for (;;) {
    auto row = ended_sweeps_.step();
    if (!row) return row.error().in("the journal");
    if (!*row) return rows;
    const JobId id(ended_sweeps_.integer(0));
    auto json = proto::parse_json(ended_sweeps_.text(1), kStoredJson);
    if (!json) {
      ended_sweeps_.reset();
      return fail(Errc::kIo, "the journal: the row of sweep " + to_string(id) + ": " + json.error().message(),
                  repair_hint(options_.state_dir));
    }
    rows.emplace_back(id, std::move(*json));
  }
}

/// What the index says, and what was synced since.
Result<std::vector<SegmentRow>> SqliteStore::segments(JobId id) {
  // before the index: what is not there any more is in the index by then
  const auto synced = writer_->durable_segments(id);
  std::vector<SegmentRow> rows;
  segments_.bind(id.value());
  for (;;) {
    auto row = segments_.step();
    if (!row) return row.error().in("the journal");
    if (!*row) break;
    rows.push_back({segments_.integer(0), segments_.integer(1), segments_.integer(2), segments_.integer(3),
                    segments_.integer(4)});
  }
  for (const auto& row : synced) {
    const auto known = std::ranges::find(rows, row.segment, &SegmentRow::segment);
    if (known == rows.end())
      rows.push_back(row);
    else if (known->bytes < row.bytes)
      *known = row;
  }
  return rows;
}

Result<MetricPage> SqliteStore::metrics(JobId id, std::int64_t from, int limit) {
  const auto rows = segments(id);
  if (!rows) return rows.error();
  auto page = read_metrics(id, *rows, from, limit);
  if (page) return page;
  // The job may have been pruned between the look at the index and that at the files.
  const auto left = segments(id);
  if (!left || !left->empty()) return page;
  return MetricPage{{}, std::max<std::int64_t>(from, 0), false};
}

Result<MetricPage> SqliteStore::read_metrics(JobId id, const std::vector<SegmentRow>& rows, std::int64_t from,
                                             int limit) const {
  MetricPage page;
  page.next = std::max<std::int64_t>(from, 0);
  const auto end = rows.empty() ? 0 : rows.back().end();
  std::size_t bytes = 0;
  const auto full = [&] {
    return static_cast<int>(page.points.size()) >= limit || bytes >= kMetricPageBytes;
  };
  for (const auto& row : rows) {
    if (row.end() <= page.next || full()) continue;
    const auto path = segment_path(options_.state_dir, id, row.segment);
    if (page.next < row.first)
      return fail(Errc::kIo,
                  "the metrics of job " + to_string(id) + ": points " + std::to_string(page.next) + " to " +
                      std::to_string(row.first - 1) + " are missing before " + path,
                  repair_hint(options_.state_dir));
    auto text = read_range(path, kSegmentHeaderBytes, row.bytes);
    if (!text) return fail(Errc::kIo, text.error().message(), repair_hint(options_.state_dir));
    SegmentScan scan(*text, kSegmentHeaderBytes);
    scan.skip(page.next - row.first);
    for (; page.next < row.end() && !full(); ++page.next) {
      const auto record = scan.next();
      if (record) bytes += static_cast<std::size_t>(record->bytes);
      auto point =
          record
              ? to_point(*record, path)
              : Result<proto::MetricPoint>(fail(
                    Errc::kIo, path + ", offset " + std::to_string(scan.offset()) + ": " + scan.problem()));
      if (!point) return fail(Errc::kIo, point.error().message(), repair_hint(options_.state_dir));
      page.points.push_back(std::move(*point));
    }
  }
  page.more = page.next < end;
  return page;
}

}  // namespace rtrain::store
