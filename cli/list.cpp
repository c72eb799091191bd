// rtrain list: the jobs that the head knows.
#include "cli/job_pages.h"
#include "cli/job_reference.h"
#include "cli/job_rows.h"
#include "cli/parse.h"
#include "cli/settings.h"
#include "common/os/file.h"

#include <algorithm>
#include <limits>

namespace rtrain::cli {

namespace {

const std::vector<std::string>& states() {
  static const std::vector<std::string> names = {"QUEUED",     "STARTING",  "RUNNING", "STOPPING",
                                                 "VALIDATING", "SUCCEEDED", "FAILED",  "CANCELLED"};
  return names;
}

Result<std::string> state_of(std::string state) {
  std::transform(state.begin(), state.end(), state.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  if (std::find(states().begin(), states().end(), state) != states().end()) return state;
  const std::string near = proto::nearest(state, states());
  std::string known;
  for (const auto& name : states()) known += (known.empty() ? "" : ", ") + name;
  return fail(
      Errc::kInvalidArgument,
      "--state " + state + ": " + (near.empty() ? "must be one of " + known : "did you mean " + near + "?"));
}

Result<std::string> filter_of(const Call& call) {
  std::string query;
  const auto add = [&](const std::string& name, const std::string& value) {
    query += (query.empty() ? "" : "&") + name + "=" + value;
  };
  if (const auto text = call.args.text("state")) {
    auto state = state_of(*text);
    if (!state) return state.error();
    add("state", *state);
  }
  if (const auto user = call.args.text("user")) {
    const auto plain = [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '@';
    };
    if (user->empty() || !std::all_of(user->begin(), user->end(), plain))
      return fail(Errc::kInvalidArgument, "--user '" + *user + "': not a valid user name");
    add("user", *user);
  }
  auto array = call.args.integer("array", 1, std::numeric_limits<std::int64_t>::max());
  if (!array) return array.error();
  if (*array) add("array", std::to_string(**array));
  return query;
}

/// {"jobs": [...]}, written as the pages come.
Result<Done> print_json(const Call& call, const Get& get, const JobQuery& query) {
  std::string begin = "{\"jobs\":[";
  auto read = read_jobs(get, query, [&](const proto::Json& jobs) -> Result<Done> {
    for (const auto& job : jobs) {
      call.console.out(begin + proto::dump_json(job));
      begin = ",";
    }
    return ok();
  });
  if (read) call.console.out((begin == "," ? "" : begin) + "]}\n");
  return read;
}

Result<Done> print_names(const Call& call, const Get& get, const JobQuery& query) {
  return read_jobs(get, query, [&](const proto::Json& jobs) -> Result<Done> {
    for (const auto& json : jobs) {
      auto job = as<proto::JobDoc>(json);
      if (!job) return job.error();
      call.console.out(job_name_of(*job) + "\n");
    }
    return ok();
  });
}

Result<Done> print_table(const Call& call, const Get& get, const JobQuery& query) {
  const bool wide = call.output == "wide", fold = !call.args.has("expand") && !call.args.has("array");
  const auto now = os::unix_ms_now();
  Table table = job_table({}, now, wide);
  std::vector<proto::JobDoc> array;  // the jobs of one have numbers in a row
  const auto end_array = [&] {
    if (!array.empty()) add_array(table, array, now, wide);
    array.clear();
  };
  auto read = read_jobs(get, query, [&](const proto::Json& page) -> Result<Done> {
    for (const auto& json : page) {
      auto job = as<proto::JobDoc>(json);
      if (!job) return job.error();
      const bool of_array = fold && job->array && job->array->count > 1;
      if (!of_array || (!array.empty() && array.front().array->id != job->array->id)) end_array();
      if (of_array)
        array.push_back(std::move(*job));
      else
        add_job(table, *job, now, wide);
    }
    return ok();
  });
  if (!read) return read;
  end_array();
  table.empty() ? call.console.note("no jobs") : call.console.print(table);
  return ok();
}

Result<int> list(Call& call) {
  auto limit = call.args.integer("limit", 1, std::numeric_limits<std::int64_t>::max());
  if (!limit) return limit.error();
  auto filter = filter_of(call);
  if (!filter) return filter.error();
  auto client = client_of(call);
  if (!client) return client.error();
  const JobQuery query{*filter, *limit};
  const auto print = call.json() ? print_json : call.output == "name" ? print_names : print_table;
  if (auto printed = print(call, get_of(*client), query); !printed) return printed.error();
  return 0;
}

}  // namespace

Verb list_verb() {
  return {
      .name = "list",
      .usage = "",
      .summary = "list the jobs, newest first",
      .description =
          "The jobs of an array share one row that counts them by state; --expand gives each "
          "its own, --array shows one array.\n"
          "A job that validates a checkpoint of another one has that job as its parent (wide), a trial 7/12 "
          "its sweep and its number there.\n"
          "json and name have each job.",
      .outputs = {"table", "wide", "json", "name"},
      .options = {{"state", 's', "STATE",
                   "only QUEUED, STARTING, RUNNING, STOPPING, VALIDATING, SUCCEEDED, FAILED or CANCELLED"},
                  {"user", 'u', "NAME", "only the jobs of this user"},
                  {"array", 0, "ID", "only the jobs of this array"},
                  {"expand", 'e', "", "a row for each job of an array"},
                  {"limit", 'n', "N", "the newest N jobs of these; without it all"}},
      .examples = {{"rtrain list", "all jobs"},
                   {"rtrain list --state running", "those that run"},
                   {"rtrain list -u ann -o wide", "those of a user, with queue and priority"},
                   {"rtrain cancel --yes $(rtrain list --state queued -o name)", "cancel all that wait"}},
      .run = list};
}

}  // namespace rtrain::cli
