#include "proto/sweep/sweep_reader.h"

#include "proto/jobspec/object_reader.h"
#include "proto/jobspec/scheduling_reader.h"
#include "proto/sweep/domain.h"
#include "proto/sweep/schedule_reader.h"
#include "proto/sweep/sweep_paths.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

namespace rtrain::proto {
namespace {

constexpr double kNoMax = std::numeric_limits<double>::max();
constexpr JsonLimits kTextLimits{.depth_max = kUserDepthMax};
constexpr std::array<DomainKind, 7> kKinds{DomainKind::kFloat,   DomainKind::kInt,    DomainKind::kChoice,
                                           DomainKind::kOrdinal, DomainKind::kNormal, DomainKind::kGrid,
                                           DomainKind::kConstant};

/// Two finite numbers.
std::optional<std::array<double, 2>> read_pair(ObjectReader& reader, const char* key, const char* meaning) {
  const Json& pair = *reader.raw(key);
  const auto finite = [](const Json& value) {
    return value.is_number() && std::isfinite(value.get<double>());
  };
  if (pair.is_array() && pair.size() == 2 && finite(pair[0]) && finite(pair[1]))
    return std::array{pair[0].get<double>(), pair[1].get<double>()};
  reader.error(key, std::string("expected ") + meaning + ", two numbers");
  return std::nullopt;
}

void read_range(ObjectReader& reader, const char* key, Domain& domain) {
  const bool whole = domain.kind == DomainKind::kInt;
  reader.read("log", domain.log);
  domain.step = whole ? 1 : 0;
  reader.read("step", domain.step, 0, kNoMax, true);
  const auto range = read_pair(reader, key, "[low, high]");
  if (!range) return;
  domain.low = (*range)[0], domain.high = (*range)[1];
  if (domain.low >= domain.high)
    return reader.error(
        key, domain.low > domain.high
                 ? "low stands first: [" + number_text(domain.high) + ", " + number_text(domain.low) + "]"
                 : "has one value; write {\"constant\": " + number_text(domain.low) + "}");
  if (!std::isfinite(domain.high - domain.low))
    return reader.error(key, "is wider than the largest number, 1.8e+308; write ends that are closer");
  constexpr double kExactMax = 9007199254740992.0;  // 2^53
  const auto is_whole = [&](double x) { return x == std::floor(x) && std::abs(x) <= kExactMax; };
  if (whole && (!is_whole(domain.low) || !is_whole(domain.high)))
    return reader.error(key, "expected two whole numbers");
  if (whole && !is_whole(domain.step)) reader.error("step", "expected a whole number");
  if (domain.log && domain.low <= 0) reader.error(key, "a logarithm needs low above 0");
  if (domain.log && domain.step != (whole ? 1 : 0))
    reader.error("step", "goes with a range that is not searched by its logarithm");
  if (domain.step > domain.high - domain.low) reader.error("step", "is larger than the range");
  constexpr double kCellsMax = 1e9;
  if (domain.step > 0 && !whole && (domain.high - domain.low) / domain.step > kCellsMax)
    reader.error("step", "gives more than 1e+09 values; leave it out");
}

void read_values(ObjectReader& reader, const char* key, Domain& domain) {
  const Json& values = *reader.raw(key);
  if (!values.is_array() || values.empty()) return reader.error(key, "expected a list of values");
  if (values.size() > kDomainValuesMax)
    return reader.error(key, "has " + std::to_string(values.size()) + " values; at most " +
                                 std::to_string(kDomainValuesMax) + ", or write int or float with a step");
  std::set<Json> seen;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::string place = std::string(key) + "[" + std::to_string(i) + "]";
    if (values[i].is_null()) reader.error(place, "null is no value");
    if (!seen.insert(values[i]).second) reader.error(place, dump_json(values[i]) + " is there twice");
    domain.values.push_back(values[i]);
  }
}

bool read_domain(ObjectReader& reader, Domain& domain) {
  std::vector<std::string> given;
  for (const auto kind : kKinds) {
    const std::string name(to_string(kind));
    if (reader.raw(name.c_str()) == nullptr) continue;
    given.push_back(name);
    domain.kind = kind;
  }
  if (given.size() != 1) {
    reader.error("", given.empty()
                         ? "names no domain: one of float, int, choice, ordinal, normal, grid, constant"
                         : "has two domains, " + given[0] + " and " + given[1]);
    return false;
  }
  const char* key = given.front().c_str();
  switch (domain.kind) {
    case DomainKind::kFloat:
    case DomainKind::kInt: read_range(reader, key, domain); break;
    case DomainKind::kChoice:
    case DomainKind::kOrdinal:
    case DomainKind::kGrid: read_values(reader, key, domain); break;
    case DomainKind::kConstant: domain.values = {*reader.raw(key)}; break;
    case DomainKind::kNormal:
      if (const auto pair = read_pair(reader, key, "[mean, sd]")) {
        domain.mean = (*pair)[0], domain.sd = (*pair)[1];
        constexpr double kFarthest = 40;  // no quantile of a double is as far from the mean
        if (domain.sd <= 0)
          reader.error(key, "sd must be above 0");
        else if (!std::isfinite(std::abs(domain.mean) + kFarthest * domain.sd))
          reader.error(key, "has values above the largest number, 1.8e+308; write a smaller mean or sd");
      }
  }
  return true;
}

void read_when(ObjectReader& reader, SweepParameter& parameter) {
  const Json* when = reader.raw("when");
  if (when == nullptr) return;
  if (!when->is_object() || when->size() != 1)
    return reader.error("when", "expected {\"parameter\": value} or {\"parameter\": [values]}");
  parameter.when = When{when->begin().key(), {}};
  if (when->begin()->is_array())
    parameter.when->values = when->begin()->get<std::vector<Json>>();
  else
    parameter.when->values = {*when->begin()};
  if (parameter.when->values.empty()) reader.error("when", "names no value");
  if (parameter.when->values.size() > kDomainValuesMax) {
    reader.error("when", "names more than " + std::to_string(kDomainValuesMax) + " values");
    parameter.when.reset();
  }
}

bool is_path(const std::string& path) {
  return !path.empty() && path.front() != '.' && path.back() != '.' && path.find("..") == std::string::npos;
}

void check_paths(ObjectReader& top, const SweepSpec& spec) {
  for (const auto& parameter : spec.parameters) {
    const std::string place = "parameters." + parameter.path;
    if (!is_path(parameter.path)) top.error(place, "is no path: names with dots between them");
    if (parameter.path.starts_with("train_loop_config."))
      top.error(place, "write " + parameter.path.substr(std::string_view("train_loop_config.").size()));
    for (const auto& other : spec.parameters)
      if (other.path.starts_with(parameter.path + "."))
        top.error("parameters." + other.path, "lies inside of another parameter, " + parameter.path);
  }
}

void check_conditions(ObjectReader& top, const SweepSpec& spec) {
  std::vector<std::string> names;
  for (const auto& parameter : spec.parameters) names.push_back(parameter.path);
  for (const auto& parameter : spec.parameters) {
    if (!parameter.when) continue;
    const std::string place = "parameters." + parameter.path + ".when";
    const auto other = std::ranges::find(spec.parameters, parameter.when->parameter, &SweepParameter::path);
    if (other == spec.parameters.end()) {
      const auto near = nearest(parameter.when->parameter, names);
      top.error(place, "\"" + parameter.when->parameter + "\" is no parameter of the sweep" +
                           (near.empty() ? "" : "; did you mean " + near + "?"));
      continue;
    }
    if (other->when) top.error(place, other->path + " has a condition itself; conditions go one level deep");
    const auto kind = other->domain.kind;
    if (kind != DomainKind::kChoice && kind != DomainKind::kOrdinal && kind != DomainKind::kGrid) {
      top.error(place, other->path + " has no list of values: choice, ordinal or grid");
      continue;
    }
    for (const auto& value : parameter.when->values)
      if (const auto at = coordinate_of(other->domain, value); !at) top.error(place, at.error().message());
  }
}

void read_parameters(ObjectReader& top, SweepSpec& spec) {
  auto reader = top.object("parameters");
  if (!reader) {
    if (!top.json().contains("parameters")) top.error("parameters", "missing; name at least one");
    return;
  }
  if (reader->json().size() > kSweepParametersMax)
    return top.error("parameters", "there are more than " + std::to_string(kSweepParametersMax));
  for (const auto& [path, value] : reader->json().items()) {
    auto one = reader->object(path.c_str());
    if (!one) continue;
    SweepParameter parameter{path, {}, {}};
    if (read_domain(*one, parameter.domain)) {
      read_when(*one, parameter);
      one->finish();
    }
    spec.parameters.push_back(std::move(parameter));
  }
  if (reader->json().empty()) top.error("parameters", "names no parameter");
  check_paths(top, spec);
  check_conditions(top, spec);
}

bool is_of_job_itself(const SweepParameter& parameter) {
  return std::ranges::find(kJobSections, job_path_of(parameter.path).front()) != kJobSections.end();
}

/// Whether the job takes the ends of each parameter that is one of the job itself. A train_loop_config takes
/// every value, if only it is not too deep.
void check_job_values(ObjectReader& top, const SweepSpec& spec) {
  const Json job = to_json(spec.job);
  for (const auto& parameter : spec.parameters) {
    std::vector<Json> ends = parameter.domain.values;
    const auto end = [&](double x) {
      const bool whole = parameter.domain.kind == DomainKind::kInt && std::abs(x) < 0x1p63;
      return whole ? Json(static_cast<std::int64_t>(x)) : Json(x);
    };
    if (parameter.domain.kind == DomainKind::kFloat || parameter.domain.kind == DomainKind::kInt)
      ends = {end(parameter.domain.low), end(parameter.domain.high)};
    // Numbers and texts in a train_loop_config are all alike to the job: one of them stands for the others.
    const bool each = is_of_job_itself(parameter);
    bool alike_seen = false;
    for (const auto& value : ends) {
      if (!each && !value.is_structured() && std::exchange(alike_seen, true)) continue;
      Json with = job;
      const auto put = put_value(with, job_path_of(parameter.path), value);
      std::string why = put ? "" : put.error().message();
      if (put)
        if (const auto reading = read_job_document(with); !reading.ok())
          why = "with " + dump_json(value) + " the job has " + to_string(reading.errors.front());
      if (why.empty()) continue;
      top.error("parameters." + parameter.path, why);
      break;
    }
  }
}

/// True when there is a valid job.
bool read_job(ObjectReader& top, SweepSpec& spec, SpecErrors& errors, const JobText& job_text) {
  const Json* job = top.raw("job");
  if (job == nullptr) {
    top.error("job", "missing; give the job, or the path of its file");
    return false;
  }
  SpecReading reading;
  if (job->is_object()) {
    reading = read_job_document(*job);
    for (const auto& error : reading.errors)
      errors.add(error.path.empty() ? "job" : "job." + error.path, error.message);
  } else if (job->is_string()) {
    const auto path = job->get<std::string>();
    if (!job_text) {
      top.error("job", "the job itself must stand here, not the path of its file");
      return false;
    }
    const auto text = job_text(path);
    if (!text) {
      top.error("job", text.error().message());
      return false;
    }
    reading = read_job_spec(*text);
    for (const auto& error : reading.errors)
      top.error("job", path + ":" +
                           (error.line == 0
                                ? std::string()
                                : std::to_string(error.line) + ":" + std::to_string(error.column) + ":") +
                           " " + to_string(error));
  } else {
    top.error("job", "expected a job or the path of its file, found " + type_words(*job));
    return false;
  }
  spec.job = std::move(reading.spec);
  if (reading.ok() && spec.job.scheduling.array)
    top.error("job", "is an array; a sweep runs one job a trial, so leave scheduling.array out");
  // Of jobs that nobody may start the next would be drawn for ever.
  if (reading.ok() && spec.job.scheduling.hold)
    top.error("job", "is held; leave scheduling.hold out, and pause the sweep: rtrain sweep pause");
  return reading.ok();
}

void read_constraints(ObjectReader& top, SweepSpec& spec) {
  auto reader = top.object("constraints");
  if (!reader) return;
  for (const auto& [metric, ignored] : reader->json().items()) {
    auto one = reader->object(metric.c_str());
    if (!one) continue;
    Constraint constraint;
    for (auto [key, bound] : {std::pair("min", &constraint.min), std::pair("max", &constraint.max)})
      if (one->raw(key) != nullptr) one->read(key, bound->emplace(), -kNoMax, kNoMax);
    if (!constraint.min && !constraint.max) one->error("", "names neither min nor max");
    one->finish();
    spec.constraints[metric] = constraint;
  }
}

void read_start_with(ObjectReader& top, SweepSpec& spec) {
  const Json* list = top.raw("start_with");
  if (list == nullptr) return;
  if (!list->is_array())
    return top.error("start_with", "expected a list of objects, found " + type_words(*list));
  if (spec.parameters.empty()) return;  // their own error says so
  std::vector<std::string> names;
  for (const auto& parameter : spec.parameters) names.push_back(parameter.path);
  for (std::size_t i = 0; i < list->size(); ++i) {
    const std::string place = "start_with[" + std::to_string(i) + "]";
    if (!(*list)[i].is_object()) {
      top.error(place, "expected an object of parameters, found " + type_words((*list)[i]));
      continue;
    }
    for (const auto& [path, value] : (*list)[i].items()) {
      const auto found = std::ranges::find(spec.parameters, path, &SweepParameter::path);
      if (found == spec.parameters.end()) {
        const auto near = nearest(path, names);
        top.error(place + "." + path, "no parameter of the sweep" +
                                          (near.empty() ? std::string() : "; did you mean " + near + "?"));
      } else if (const auto at = coordinate_of(found->domain, value); !at) {
        top.error(place + "." + path, at.error().message());
      } else if (found->when && !meets((*list)[i], *found->when)) {
        top.error(place + "." + path, "needs " + found->when->parameter +
                                          " beside it, with a value under which it is part of a trial");
      }
    }
    spec.start_with.push_back((*list)[i]);
  }
}

void read_from(ObjectReader& top, SweepSpec& spec) {
  const Json* list = top.raw("from");
  if (list == nullptr) return;
  if (!list->is_array() || list->size() > kFromMax)
    return top.error("from", "expected a list of at most " + std::to_string(kFromMax) + " numbers of sweeps");
  for (std::size_t i = 0; i < list->size(); ++i) {
    const std::string place = "from[" + std::to_string(i) + "]";
    const auto number = (*list)[i].is_number_integer() ? (*list)[i].get<std::int64_t>() : 0;
    if (number < 1)
      top.error(place, "expected the number of a sweep");
    else if (std::ranges::find(spec.from, number) != spec.from.end())
      top.error(place, "sweep " + std::to_string(number) + " is named twice");
    else
      spec.from.push_back(number);
  }
  if (!spec.from.empty() && spec.search.method != SearchMethod::kTpe)
    top.error("from", "only tpe learns from the trials of other sweeps");
}

void read_seed(ObjectReader& top, SweepSpec& spec) {
  const Json* seed = top.raw("seed");
  if (seed == nullptr) return;
  if (!seed->is_number_integer() || (!seed->is_number_unsigned() && seed->get<std::int64_t>() < 0) ||
      seed->get<double>() > 9007199254740991.0)
    return top.error("seed", "expected a whole number from 0 to 2^53 - 1");
  spec.seed = seed->get<std::uint64_t>();
}

void check_cmaes(ObjectReader& top, const SweepSpec& spec) {
  const auto searched = std::ranges::count_if(spec.parameters, [](const SweepParameter& parameter) {
    return parameter.domain.kind != DomainKind::kConstant && parameter.domain.values.size() != 1;
  });
  if (searched > static_cast<std::ptrdiff_t>(kCmaesParametersMax))
    top.error("parameters", "cmaes searches at most " + std::to_string(kCmaesParametersMax) +
                                " of them, these are " + std::to_string(searched) + "; use tpe");
  const auto& schedule = spec.schedule;
  const bool halves = schedule.kind == ScheduleKind::kAsha || schedule.kind == ScheduleKind::kHyperband;
  // A generation is complete when its trials have ended, and those that are paused do not.
  if (halves && schedule.mode == AshaMode::kPromote)
    top.error("schedule." + std::string(to_string(schedule.kind)),
              "pauses trials, and cmaes learns from those that have ended; write \"mode\": \"stop\", or use "
              "the search method tpe");
}

/// What one part of the file asks of another.
void check_together(ObjectReader& top, const SweepSpec& spec) {
  const auto method = spec.search.method;
  for (const auto& parameter : spec.parameters) {
    const std::string place = "parameters." + parameter.path;
    const auto kind = parameter.domain.kind;
    if (kind == DomainKind::kGrid && method != SearchMethod::kGrid)
      top.error(place, "grid goes with the search method grid; write choice or ordinal");
    const bool values = kind == DomainKind::kChoice || kind == DomainKind::kOrdinal ||
                        kind == DomainKind::kGrid || kind == DomainKind::kConstant ||
                        has_lattice(parameter.domain);
    if (method == SearchMethod::kGrid && !values)
      top.error(place, "a grid needs values; give it a step, or write choice or grid");
    if (method == SearchMethod::kCmaes && kind == DomainKind::kChoice)
      top.error(place, "cmaes searches numbers and ordinals only; write ordinal, or use tpe");
    if (method == SearchMethod::kCmaes && parameter.when)
      top.error(place + ".when", "cmaes has no conditional parameters; use tpe");
  }
  if (method == SearchMethod::kCmaes) check_cmaes(top, spec);
  const auto limits = top.json().find("limits");
  const bool given = limits != top.json().end() && limits->is_object() && limits->contains("trials");
  if (!given && method != SearchMethod::kGrid)
    top.error("limits.trials", "missing; say how many trials the sweep may have");
  if (method == SearchMethod::kGrid && !spec.start_with.empty())
    top.error("start_with", "a grid tries each of its points once; leave start_with out");
  if (spec.schedule.kind == ScheduleKind::kPbt &&
      (method == SearchMethod::kGrid || method == SearchMethod::kCmaes))
    top.error("schedule.pbt",
              "changes parameters itself; use it with the search method random, sobol or tpe");
}

void read_top(ObjectReader& top, SweepReading& reading, SpecErrors& errors, const JobText& job_text) {
  auto& spec = reading.spec;
  (void)top.raw("$schema");  // for editors
  top.read("name", spec.name);
  const bool has_job = read_job(top, spec, errors, job_text);
  read_parameters(top, spec);
  top.read("metric", spec.metric);
  if (spec.metric.empty()) top.error("metric", "missing; name the reported number that is searched by");
  std::string mode = "min";
  top.read_choice("mode", mode, {"min", "max"});
  spec.maximize = mode == "max";
  top.read("resource", spec.resource);
  read_seed(top, spec);
  read_search(top, spec.search);
  read_schedule(top, spec.schedule);
  read_limits(top, spec.limits);
  read_constraints(top, spec);
  read_start_with(top, spec);
  read_from(top, spec);
  top.read("baseline", spec.baseline);
  top.read("checkpoint_pruned", spec.checkpoint_pruned);
  top.read("idle", spec.idle);
  top.refuse("seeds", "not supported in this version");
  for (const char* key : {"time_attr", "num_samples", "max_concurrent_trials", "time_budget_s"})
    top.refuse(key, std::string("a name of Ray's; write ") +
                        (key == std::string_view("time_attr")       ? "resource"
                         : key == std::string_view("num_samples")   ? "limits.trials"
                         : key == std::string_view("time_budget_s") ? "limits.hours"
                                                                    : "limits.running"));
  top.finish();
  if (top.json().contains("name") && top.json()["name"].is_string() && !is_name(spec.name))
    top.error("name", kNameRule);
  if (spec.name.empty()) spec.name = spec.job.name;
  check_together(top, spec);
  if (has_job) check_job_values(top, spec);
}

void add_notes(SweepReading& reading) {
  const auto& spec = reading.spec;
  if (!spec.baseline || spec.search.method == SearchMethod::kGrid) return;
  if (is_complete(spec, baseline_of(spec))) return;
  reading.notes.push_back(
      "there is no baseline: the job's train_loop_config does not have a value in its domain for every "
      "parameter");
}

void read_document(const Json& document, SweepReading& reading, SpecErrors& errors, const JobText& job_text) {
  errors.of_job = false;
  if (!document.is_object())
    return errors.add("", "a sweep file is a JSON object, this is " + type_words(document));
  ObjectReader top(document, "", errors);
  read_top(top, reading, errors, job_text);
}

void take_errors(SweepReading& reading, SpecErrors& errors, std::string_view text) {
  SpecReading taken;
  errors.take(taken, text, kTextLimits);
  reading.errors = std::move(taken.errors);
  if (reading.ok()) add_notes(reading);
}

}  // namespace

SweepReading read_sweep_spec(std::string_view text, const JobText& job_text) {
  JsonText read = read_json_text(text, kTextLimits);
  SweepReading reading;
  SpecErrors errors;
  // repeated keys do not end the reading
  const bool whole = read.problems.empty() || !read.problems.back().path.empty();
  for (auto& problem : read.problems) errors.add(std::move(problem));
  errors.add_uncounted(read.more);
  if (whole) read_document(read.value, reading, errors, job_text);
  take_errors(reading, errors, text);
  return reading;
}

SweepReading read_sweep_document(const Json& document, const JobText& job_text, std::string_view text) {
  SweepReading reading;
  SpecErrors errors;
  read_document(document, reading, errors, job_text);
  take_errors(reading, errors, text);
  return reading;
}

}  // namespace rtrain::proto
