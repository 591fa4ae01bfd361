// Dates the way that a course's time zone and a learner's language want them.
import moment from 'moment-timezone';
import 'moment/min/locales';

export function showDate(iso, zone = 'UTC', locale = 'en') {
  return moment.tz(iso, zone).locale(locale).format('LLL z');
}

export function until(iso, now = undefined) {
  return moment(iso).from(now ? moment(now) : moment());
}
