#include "daemon/store/stored_specs.h"

#include "daemon/store/schema.h"

namespace rtrain::store {

std::int64_t spec_number(JobId id, const std::optional<proto::ArrayTask>& array) {
  return array ? array->id.value() : id.value();
}

Result<StoredSpecs> StoredSpecs::open(Database& database) {
  StoredSpecs specs;
  auto tables = database.integer("SELECT count(*) FROM sqlite_schema WHERE type='table' AND name='specs'");
  if (!tables) return tables.error();
  specs.has_table_ = *tables > 0;
  const auto prepare = [&](Statement& statement, std::string_view sql) -> Result<Done> {
    auto prepared = database.prepare(sql);
    if (!prepared) return prepared.error();
    statement = std::move(*prepared);
    return ok();
  };
  auto done = prepare(specs.first_event_, "SELECT json FROM events WHERE job=? AND number=0");
  if (done && specs.has_table_) done = prepare(specs.number_, "SELECT spec FROM jobs WHERE id=?");
  if (done && specs.has_table_) done = prepare(specs.spec_, "SELECT json FROM specs WHERE id=?");
  if (!done) return done.error();
  return specs;
}

Result<Done> StoredSpecs::complete(JobId id, proto::JobSubmitted& event) {
  return complete(id, event.array, event.spec);
}

Result<Done> StoredSpecs::complete(core::JobState& state) {
  return complete(state.id, state.array, state.spec);
}

Result<Done> StoredSpecs::complete(JobId id, const std::optional<proto::ArrayTask>& array,
                                   proto::SharedSpec& spec) {
  if (spec.empty()) {
    auto stored = of(id, array);
    if (!stored) return stored.error();
    spec = std::move(*stored);
  }
  if (array) share(*array, spec);
  return ok();
}

void StoredSpecs::share(const proto::ArrayTask& array, proto::SharedSpec& spec) {
  if (!spec->train_loop_config.contains("array_index")) return;
  auto common = *spec;
  common.train_loop_config.erase("array_index");
  auto text = proto::dump_json(to_json(common));
  if (shared_array_ != array.id || shared_text_ != text) {
    shared_array_ = array.id;
    shared_text_ = std::move(text);
    shared_ = std::move(common);
  }
  spec = shared_;
}

Result<proto::SharedSpec> StoredSpecs::of(JobId id, const std::optional<proto::ArrayTask>& array) {
  if (!has_table_) return in_first_event(id);
  auto row = number_.bind(id.value()).step();
  if (!row) return row.error();
  const bool only_events = !*row;  // tell of the job: its row is lost, its spec may be there
  const bool stored_with_event = *row && number_.is_null(0);
  const auto number = *row ? number_.integer(0) : spec_number(id, array);
  number_.reset();
  if (stored_with_event) return in_first_event(id);
  if (number == last_id_) return last_;
  auto found = spec_.bind(number).step();
  if (!found) return found.error();
  if (!*found && only_events) return in_first_event(id);
  if (!*found) return fail(Errc::kProtocol, "its spec, number " + std::to_string(number) + ", is missing");
  auto json = proto::parse_json(spec_.text(0), kStoredJson);
  spec_.reset();
  if (!json) return json.error().in("its spec");
  auto reading = proto::read_job_spec(*json);
  if (!reading.ok()) return fail(Errc::kProtocol, "its spec: " + to_string(reading.errors.front()));
  last_id_ = number;
  last_ = std::move(reading.spec);
  return last_;
}

Result<proto::SharedSpec> StoredSpecs::in_first_event(JobId id) {
  auto row = first_event_.bind(id.value()).step();
  if (!row) return row.error();
  if (!*row) return fail(Errc::kProtocol, "its first event, with its spec, is missing");
  auto json = proto::parse_json(first_event_.text(0), kStoredJson);
  first_event_.reset();
  auto event = json ? proto::event_from_json(*json) : Result<proto::StampedEvent>(json.error());
  if (!event) return event.error().in("event 0");
  const auto* submitted = std::get_if<proto::JobSubmitted>(&event->event);
  if (submitted == nullptr || submitted->spec.empty()) return fail(Errc::kProtocol, "its spec is not stored");
  return submitted->spec;
}

}  // namespace rtrain::store
