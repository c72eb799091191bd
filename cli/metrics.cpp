// rtrain metrics: what a job reported, report by report.
#include "cli/job_reference.h"
#include "cli/parse.h"
#include "cli/settings.h"
#include "cli/text.h"

#include <algorithm>

namespace rtrain::cli {

namespace {

/// Names of metrics in the order in which they first appear.
std::vector<std::string> metric_names(std::span<const proto::MetricPoint> points) {
  std::vector<std::string> names;
  for (const auto& point : points) {
    if (!point.metrics.is_object()) continue;
    for (const auto& [name, value] : point.metrics.items())
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

/// All pages; the last `tail` points where it is given.
Result<std::vector<proto::MetricPoint>> read_points(Client& client, std::int64_t id,
                                                    std::optional<std::int64_t> tail) {
  std::vector<proto::MetricPoint> points;
  std::string where = tail ? "?tail=" + std::to_string(*tail) : "?from=0";
  while (true) {
    auto answer = client.get("/v1/jobs/" + std::to_string(id) + "/metrics" + where);
    if (!answer) return answer.error();
    auto page = as_list<proto::MetricPoint>(*answer, "points");
    if (!page) return page.error();
    points.insert(points.end(), std::make_move_iterator(page->begin()), std::make_move_iterator(page->end()));
    const bool more = answer->value("more", proto::Json(false)) == true;
    if (!more || page->empty()) return points;
    where = "?from=" + std::to_string(answer->value("next", proto::Json(0)).get<std::int64_t>());
  }
}

Result<int> metrics(Call& call) {
  auto tail = call.args.integer("tail", 1, 1'000'000'000);
  if (!tail) return tail.error();
  auto client = client_of(call);
  if (!client) return client.error();
  auto id = find_job(*client, call.args.positionals.front());
  if (!id) return id.error();
  auto points = read_points(*client, *id, *tail);
  if (!points) return points.error();
  if (call.json()) {
    call.console.out(proto::dump_json({{"points", *points}}) + "\n");
    return 0;
  }
  if (points->empty()) {
    call.console.note("job " + call.args.positionals.front() + " has reported nothing yet");
    return 0;
  }
  const std::span shown(*points);
  const auto names = metric_names(shown);
  std::vector<std::string> headers{">ATTEMPT", ">REPORT", "TIME"};
  for (const auto& name : names) headers.push_back(">" + printable(name, false));
  headers.emplace_back("CHECKPOINT");
  Table table(std::move(headers));
  for (const auto& point : shown) {
    std::vector<Cell> row{std::to_string(point.attempt), std::to_string(point.seq),
                          proto::rfc3339(point.time_ms)};
    for (const auto& name : names)
      row.emplace_back(
          point.metrics.is_object() && point.metrics.contains(name) ? metric_value(point.metrics[name]) : "");
    row.emplace_back(point.checkpoint.substr(point.checkpoint.rfind('/') + 1));
    table.add(std::move(row));
  }
  call.console.print(table);
  return 0;
}

}  // namespace

Verb metrics_verb() {
  return {.name = "metrics",
          .usage = "ID",
          .summary = "print the metrics that a job reported",
          .positionals_min = 1,
          .positionals_max = 1,
          .outputs = {"table", "json"},
          .options = {{"tail", 'n', "N", "the last N reports only"}},
          .examples = {{"rtrain metrics 42", "one row a report"},
                       {"rtrain metrics 42 --tail 5", "the last five"},
                       {"rtrain metrics 42 -o json", "all points with every digit"}},
          .run = metrics};
}

}  // namespace rtrain::cli
