// rtrain reservation: nodes kept for those who may use them.
#include "cli/moment.h"
#include "cli/settings.h"
#include "cli/text.h"
#include "common/base/duration.h"
#include "common/os/file.h"
#include "proto/jobspec/scheduling.h"

#include <algorithm>

namespace rtrain::cli {

namespace {

std::vector<std::string> items(const std::vector<std::string>& texts) {
  std::vector<std::string> all;
  for (const auto& text : texts)
    for (std::size_t begin = 0; begin <= text.size();) {
      const std::size_t end = std::min(text.find(',', begin), text.size());
      if (end > begin) all.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
  return all;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ",") + word;
  return text;
}

void print(const Call& call, const std::vector<proto::ReservationDoc>& all) {
  Table table({"NAME", "STATE", "NODES", "START", "END", "USERS", "BY"});
  for (const auto& one : all)
    table.add({one.name, one.active ? "ACTIVE" : "INACTIVE", joined(one.nodes), proto::rfc3339(one.start_ms),
               proto::rfc3339(one.end_ms), one.users.empty() ? "all" : joined(one.users), one.by});
  call.console.print(table);
}

Result<int> shown(const Call& call, const Result<proto::Json>& answer, const char* what) {
  if (!answer) return answer.error();
  auto doc = as<proto::ReservationDoc>(*answer);
  if (!doc) return doc.error();
  if (call.json())
    call.console.out(proto::dump_json(*answer) + "\n");
  else if (call.output == "name")
    call.console.out(doc->name + "\n");
  else
    call.console.out("reservation " + doc->name + " " + what + ": " + joined(doc->nodes) + " from " +
                     proto::rfc3339(doc->start_ms) + " to " + proto::rfc3339(doc->end_ms) + "\n");
  return 0;
}

Result<int> create(const Call& call, const Client& client, const std::string& name) {
  const auto now = os::unix_ms_now();
  auto start = parse_moment(call.args.text("start").value_or("now"), now);
  if (!start) return start.error().in("--start");
  const auto duration_text = call.args.text("duration");
  if (!call.args.has("nodes") || !duration_text)
    return fail(Errc::kInvalidArgument, "rtrain reservation create needs --nodes and --duration",
                "rtrain help reservation");
  auto duration_s = proto::parse_time_limit(*duration_text);
  if (!duration_s) return duration_s.error().in("--duration");
  proto::Json body{{"name", name},
                   {"nodes", items(call.args.texts("nodes"))},
                   {"users", items(call.args.texts("users"))},
                   {"start", proto::rfc3339(*start)},
                   {"end", proto::rfc3339(*start + to_milliseconds(*duration_s).count())}};
  return shown(call, client.post("/v1/reservations", body), "made");
}

Result<int> list(const Call& call, const Client& client) {
  auto answer = client.get("/v1/reservations");
  if (!answer) return answer.error();
  auto all = as_list<proto::ReservationDoc>(*answer, "reservations");
  if (!all) return all.error();
  if (call.json())
    call.console.out(proto::dump_json(*answer) + "\n");
  else if (call.output == "name")
    for (const auto& one : *all) call.console.out(one.name + "\n");
  else if (all->empty())
    call.console.note("no reservations");
  else
    print(call, *all);
  return 0;
}

Result<int> reservation(Call& call) {
  const auto& words = call.args.positionals;
  const std::string& action = words[0];
  const std::vector<std::string> known = {"create", "list", "delete"};
  if (std::ranges::find(known, action) == known.end()) {
    const auto near = proto::nearest(action, known);
    return fail(Errc::kInvalidArgument,
                "rtrain reservation: unknown action '" + action + "'" +
                    (near.empty() ? "" : "; did you mean " + near + "?"),
                "rtrain help reservation");
  }
  if (words.size() != (action == "list" ? 1U : 2U))
    return fail(Errc::kInvalidArgument,
                "rtrain reservation " + action + (action == "list" ? " takes no name" : " takes one name"),
                "rtrain help reservation");
  for (const char* option : {"nodes", "start", "duration", "users"})
    if (action != "create" && call.args.has(option))
      return fail(Errc::kInvalidArgument, "rtrain reservation " + action + " has no --" + option,
                  "rtrain help reservation");
  auto client = client_of(call);
  if (!client) return client.error();
  if (action == "create") return create(call, *client, words[1]);
  if (action == "delete") return shown(call, client->remove("/v1/reservations/" + words[1]), "deleted");
  return list(call, *client);
}

}  // namespace

Verb reservation_verb() {
  return {.name = "reservation",
          .usage = "create NAME | list | delete NAME",
          .summary = "keep nodes for a time and for certain users",
          .description =
              "While it lasts only jobs that name it (--reservation NAME) start on its nodes. It is "
              "deleted automatically when it ends.",
          .positionals_min = 1,
          .positionals_max = 2,
          .outputs = {"table", "json", "name"},
          .options = {{"nodes", 0, "LIST", "create: the nodes, with commas between them"},
                      {"start", 0, "TIME",
                       "create: now (the default), now+30m, 2026-11-26T08:00 (local), ...Z (UTC)"},
                      {"duration", 0, "TIME", "create: how long: 90m, 2h, 1d"},
                      {"users", 0, "LIST", "create: who may use it; default: any user"}},
          .examples = {{"rtrain reservation create night --nodes gpu01,gpu02 --start 2026-11-26T20:00 "
                        "--duration 10h --users ann,bob",
                        "two nodes for two users"},
                       {"rtrain reservation list", "all that there are"},
                       {"rtrain submit --reservation night job.json", "a job that runs there"},
                       {"rtrain reservation delete night", "give the nodes back"}},
          .run = reservation};
}

}  // namespace rtrain::cli
