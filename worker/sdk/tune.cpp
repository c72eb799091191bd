#include <rtrain/tune.h>

namespace rtrain::tune {
namespace {

Domain of_kind(const char* kind, nlohmann::json values) {
  auto json = nlohmann::json::object();
  json[kind] = std::move(values);
  return Domain(std::move(json));
}

Domain with(const Domain& of, const char* key, nlohmann::json value) {
  auto json = of.json();
  json[key] = std::move(value);
  return Domain(std::move(json));
}

template <class T>
nlohmann::json pair(T a, T b) {
  auto json = nlohmann::json::array();
  json.push_back(a);
  json.push_back(b);
  return json;
}

}  // namespace

Domain Domain::when(const std::string& parameter, const nlohmann::json& value) const {
  auto condition = nlohmann::json::object();
  condition[parameter] = value;
  return with(*this, "when", std::move(condition));
}

Domain uniform(double lower, double upper) { return of_kind("float", pair(lower, upper)); }
Domain quniform(double lower, double upper, double q) { return with(uniform(lower, upper), "step", q); }
Domain loguniform(double lower, double upper) { return with(uniform(lower, upper), "log", true); }
Domain randn(double mean, double sd) { return of_kind("normal", pair(mean, sd)); }
Domain randint(std::int64_t lower, std::int64_t upper) { return of_kind("int", pair(lower, upper)); }
Domain qrandint(std::int64_t lower, std::int64_t upper, std::int64_t q) {
  return with(randint(lower, upper), "step", q);
}
Domain lograndint(std::int64_t lower, std::int64_t upper) { return with(randint(lower, upper), "log", true); }
Domain choice(std::vector<nlohmann::json> values) { return of_kind("choice", std::move(values)); }
Domain ordinal(std::vector<nlohmann::json> values) { return of_kind("ordinal", std::move(values)); }
Domain grid_search(std::vector<nlohmann::json> values) { return of_kind("grid", std::move(values)); }

}  // namespace rtrain::tune
