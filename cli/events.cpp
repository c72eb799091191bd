// rtrain events: what happened to a job, from its submission on.
#include "cli/event_words.h"
#include "cli/job_reference.h"
#include "cli/parse.h"
#include "cli/settings.h"
#include "cli/text.h"

namespace rtrain::cli {

namespace {

/// All pages, as they are in the journal; only the last `tail` where it is given.
Result<proto::Json> read_events(const Client& client, std::int64_t id, std::optional<std::int64_t> tail,
                                bool env) {
  proto::Json events = proto::Json::array();
  for (std::int64_t from = 0;;) {
    auto page = client.get("/v1/jobs/" + std::to_string(id) + "/events?from=" + std::to_string(from) +
                           (env ? "&env=true" : ""));
    if (!page) return page.error();
    const auto list = page->find("events");
    if (list == page->end() || !list->is_array())
      return fail(Errc::kProtocol, "unexpected document: it has no events");
    for (auto& event : *list) events.push_back(std::move(event));
    if (page->value("more", proto::Json(false)) != true || list->empty()) break;
    from += static_cast<std::int64_t>(list->size());
  }
  if (tail && events.size() > static_cast<std::size_t>(*tail))
    events.erase(events.begin(), events.end() - static_cast<std::ptrdiff_t>(*tail));
  return events;
}

std::string text_of(const proto::Json& event, const char* field) {
  const auto found = event.find(field);
  return found != event.end() && found->is_string() ? found->get<std::string>() : "";
}

Result<int> events(Call& call) {
  auto tail = call.args.integer("tail", 1, 1'000'000'000);
  if (!tail) return tail.error();
  auto client = client_of(call);
  if (!client) return client.error();
  auto id = find_job(*client, call.args.positionals.front());
  if (!id) return id.error();
  auto list = read_events(*client, *id, *tail, call.args.has("env"));
  if (!list) return list.error();
  if (call.json()) {
    call.console.out(proto::dump_json({{"events", *list}}) + "\n");
    return 0;
  }
  Table table({"TIME", ">ATTEMPT", "EVENT", "WHAT"});
  for (const auto& json : *list) {
    const auto event = proto::event_from_json(json);
    const auto attempt = event ? attempt_of(event->event) : 0;
    // A newer head may tell of events that this program has no words for: their names say enough.
    table.add({text_of(json, "at"), attempt > 0 ? std::to_string(attempt) : "",
               printable(text_of(json, "type"), false),
               event ? printable(event_words(event->event), false) : ""});
  }
  call.console.print(table);
  return 0;
}

}  // namespace

Verb events_verb() {
  return {.name = "events",
          .usage = "ID",
          .summary = "print what happened to a job",
          .description =
              "Everything that the head's journal holds of the job, oldest first: placements, ranks that "
              "started and ended, failures with the\n"
              "verdict on them, checkpoints, holds. Reports without a checkpoint are not events: `rtrain "
              "metrics` prints them. The values of the\n"
              "job's env are hidden; --env shows them to the submitter.",
          .positionals_min = 1,
          .positionals_max = 1,
          .outputs = {"table", "json"},
          .options = {{"tail", 'n', "N", "the last N events only"},
                      {"env", 0, "", "with -o json: the values of your job's environment, too"}},
          .examples = {{"rtrain events 42", "one row an event"},
                       {"rtrain events 42 --tail 5", "the last five"},
                       {"rtrain events 42 -o json", "with every field"}},
          .run = events};
}

}  // namespace rtrain::cli
