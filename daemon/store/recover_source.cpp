#include "daemon/store/recover_source.h"

#include "daemon/store/fsck.h"
#include "daemon/store/job_state_json.h"
#include "daemon/store/schema.h"

#include <limits>
#include <tuple>

namespace rtrain::store {

bool FoundJob::goes_further_than(const FoundJob& other) const {
  const auto reach = [](const FoundJob& job) {
    return std::tuple(job.state.has_value(), job.ended(), job.events.size());
  };
  return reach(*this) > reach(other);
}

std::unique_ptr<RecoverSource> RecoverSource::open(const std::string& path) {
  auto database = Database::open(path, Database::Mode::kReadOnly);
  if (!database) return nullptr;
  auto events = (*database)->prepare(kEventsOfJob);
  auto snapshot = (*database)->prepare("SELECT snapshot, snapshot_events FROM jobs WHERE id=? AND ended>0");
  auto specs = StoredSpecs::open(**database);
  if (!events || !snapshot || !specs) return nullptr;
  return std::unique_ptr<RecoverSource>(
      new RecoverSource(std::move(*database), std::move(*events), std::move(*snapshot), std::move(*specs)));
}

FoundJob RecoverSource::job(JobId id) {
  FoundJob found;
  auto replayed = replay_job(events_, specs_, id, [&](std::int64_t at, std::string_view json) {
    found.events.emplace_back(at, json);
  });
  found.state = std::move(replayed.state);
  found.problem = std::move(replayed.problem);
  if (!found.ended())
    look_at_snapshot(id, found);
  else if (db_->trouble() == Trouble::kCorrupt)
    found.problem.clear();  // the page behind its last event is broken: nothing of this job was in it
  return found;
}

/// A job that ended has all that the head still needs of it in its snapshot; by what is left of its events it
/// might even run again.
void RecoverSource::look_at_snapshot(JobId id, FoundJob& found) {
  auto row = snapshot_.bind(id.value()).step();
  if (!row || !*row) return;
  const bool known_as_short = snapshot_.integer(1) == kHistoryLost;
  auto json = proto::parse_json(snapshot_.text(0), kStoredJson);
  snapshot_.reset();
  auto state = json ? job_state_from_json(*json) : Result<core::JobState>(json.error());
  if (!state || state->id != id || !core::is_terminal(state->phase) || !specs_.complete(*state)) return;
  found.state = std::move(*state);
  found.by_snapshot = true;
  if (known_as_short)
    found.problem.clear();  // an earlier recover has said so
  else if (found.problem.empty())
    found.problem = "it is missing";
}

std::optional<FoundSweep> RecoverSource::sweep(JobId id) {
  const auto is = is_sweep(events_, id);
  if (!is || !*is) return std::nullopt;
  return replay_stored_sweep(events_, id);
}

std::string RecoverSource::row_of_sweep(JobId id) {
  auto rows = db_->prepare("SELECT row FROM sweeps WHERE id=? AND ended>0");  // an older schema has no sweeps
  if (!rows) return {};
  auto row = rows->bind(id.value()).step();
  if (!row || !*row) return {};
  const auto json = proto::parse_json(rows->text(0), kStoredJson);
  double number = 0;
  const bool good = json && json->is_object() && json->contains("id") &&
                    proto::json_number(json->at("id"), number) && number == static_cast<double>(id.value());
  return good ? std::string(rows->text(0)) : std::string();
}

FoundIds RecoverSource::ids() {
  FoundIds found;
  // An index has the numbers as well: the broken one of the two does no harm. Where both look whole and
  // differ, neither is believed.
  std::set<JobId> by_table, by_index;
  const bool table = read_ids("SELECT 0, id FROM jobs NOT INDEXED", by_table);
  const bool index = read_ids("SELECT ended, id FROM jobs INDEXED BY jobs_ended", by_index);
  found.jobs_whole = table && index ? by_table == by_index : table || index;
  found.jobs = std::move(by_table);
  found.jobs.merge(by_index);
  (void)read_ids("SELECT 0, id FROM sweeps", found.sweeps);  // an older schema has none
  found.events_whole = read_ids("SELECT DISTINCT 0, job FROM events", found.in_events);
  return found;
}

/// SQLite does not look whether the cells of a page are in order; out of order they are of a broken page.
bool RecoverSource::read_ids(std::string_view sql, std::set<JobId>& into) {
  auto rows = db_->prepare(sql);
  if (!rows) return false;
  std::pair<std::int64_t, std::int64_t> last{std::numeric_limits<std::int64_t>::min(), 0};
  bool in_order = true;
  for (;;) {
    auto row = rows->step();
    if (!row) return false;
    if (!*row) return in_order;
    const std::pair next{rows->integer(0), rows->integer(1)};
    in_order = in_order && last < next;
    last = next;
    into.insert(JobId(next.second));
  }
}

bool RecoverSource::lacks_log(bool has_log) {
  const auto lacks = store::lacks_log(*db_, has_log);
  return lacks && *lacks;
}

Result<std::vector<std::array<std::string, 3>>> RecoverSource::documents() {
  auto rows = db_->prepare("SELECT kind, name, value FROM documents");
  if (!rows) return rows.error();
  std::vector<std::array<std::string, 3>> found;
  for (;;) {
    auto row = rows->step();
    if (!row) return row.error();
    if (!*row) return found;
    found.push_back({std::string(rows->text(0)), std::string(rows->text(1)), std::string(rows->text(2))});
  }
}

}  // namespace rtrain::store
